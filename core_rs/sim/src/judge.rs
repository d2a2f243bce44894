//! The judge: compares every reply with its request.
//!
//! Owns which invariants each kind of reply must satisfy. Refuses to know how the reply travelled.

mod find;
mod kin;
mod over;

use std::collections::{BTreeSet, VecDeque};

use backlane_engine::fact::OutcomeKind;
use backlane_runtime::CompletionKind;
use prost::Message;

use crate::api::{reason, reason_of, v1};
use crate::asked::Asked;
use crate::check::{Checked, Ledger, LogCheck, Reported, Violation, broken, must};
use crate::plan::Excuses;

mod reasons;
mod runs;

pub use find::FILTERS;

const ANSWERED: &str = "a reply answers its request";
const EXISTS: &str = "what was acknowledged is never denied";
const TENANTS: &str = "no call reads or writes across tenants";
const DAMAGED: &str = "nothing is called damaged that can be read";
const FULL: &str = "a full disk refuses new executions and inputs for later, and nothing else";
/// The size that gRPC clients accept by default, rounded down.
const MOST_BYTES: usize = 4_000_000;

/// The data that the judge needs.
pub struct Judge<'a> {
    /// The earlier replies.
    pub ledger: &'a mut Ledger,
    /// The log and its states.
    pub log: &'a LogCheck,
    /// What replies may say because of the situation of the run.
    pub excuses: Excuses,
}

fn decoded<M: Message + Default>(bytes: &[u8]) -> Result<M, Violation> {
    must(bytes.len() < MOST_BYTES, "replies stay below 4 MB", || {
        bytes.len().to_string()
    })?;
    M::decode(bytes).map_err(|error| broken(ANSWERED, error))
}

fn some<T>(given: Option<T>) -> Result<T, Violation> {
    given.ok_or_else(|| broken(ANSWERED, "an answer without its record"))
}

impl Judge<'_> {
    /// Judges the reply to a unary call. An `intruder` asked for another tenant's execution.
    ///
    /// # Errors
    /// The invariant that the reply violates.
    pub fn unary(&mut self, asked: &Asked, intruder: bool, kind: &CompletionKind) -> Checked {
        match kind {
            CompletionKind::Reply(bytes) if intruder => self.intruder(asked, bytes),
            CompletionKind::Reply(bytes) => self.reply(asked, bytes),
            CompletionKind::Error { status, .. } => {
                let reason = reason(status);
                if !intruder {
                    self.denial(asked, &reason)?;
                }
                self.refusal(asked, &reason)
            }
            other => Err(broken(
                ANSWERED,
                format!("{asked:?} was answered {other:?}"),
            )),
        }
    }

    /// Checks that an error has one of the reasons that a call may have in this run.
    fn refusal(&mut self, asked: &Asked, reason: &str) -> Checked {
        let said = || format!("{asked:?} was answered {reason}");
        let Excuses {
            forgets,
            misreads,
            fills,
        } = self.excuses;
        must(
            forgets || reason != "INTERNAL",
            "no reply is an internal error",
            said,
        )?;
        must(misreads || reason != "DATA_DAMAGED", DAMAGED, said)?;
        if reason != "DISK_FULL" {
            return Ok(());
        }
        let keeps = matches!(
            asked,
            Asked::Enqueue(_)
                | Asked::Batch(_)
                | Asked::Run(_)
                | Asked::Redrive(_)
                | Asked::Spawn(_)
                | Asked::Input(_)
        );
        must(fills && keeps, FULL, said)?;
        self.ledger.refused_as_full();
        Ok(())
    }

    /// Checks that an error does not deny an execution that must exist.
    fn denial(&self, asked: &Asked, reason: &str) -> Checked {
        let named = match asked {
            Asked::Get(asked) => Some((&asked.tenant_id, &asked.execution_id)),
            Asked::Cancel(asked) => Some((&asked.tenant_id, &asked.execution_id)),
            Asked::Delete(asked) => Some((&asked.tenant_id, &asked.execution_id)),
            Asked::Redrive(asked) => Some((&asked.tenant_id, &asked.execution_id)),
            Asked::Input(asked) => Some((&asked.tenant_id, &asked.execution_id)),
            Asked::Pause(asked) => Some((&asked.tenant_id, &asked.execution_id)),
            Asked::Resume(asked) => Some((&asked.tenant_id, &asked.execution_id)),
            Asked::Story(asked, _) => Some((&asked.tenant_id, &asked.execution_id)),
            Asked::Explain(asked) => Some((&asked.tenant_id, &asked.execution_id)),
            _ => None,
        };
        named.map_or(Ok(()), |(tenant, id)| self.exists(tenant, id, reason))?;
        self.dependencies_exist(asked, reason)?;
        let deleted = reason == "EXECUTION_DELETED";
        let may_be = self.excuses.forgets || self.log.deletions() > 0;
        must(may_be || !deleted, EXISTS, || {
            format!("{asked:?} was answered {reason}")
        })
    }

    /// Checks that a reason does not deny a tenant's execution that must exist.
    fn exists(&self, tenant: &str, id: &str, reason: &str) -> Checked {
        let denies = reason == "EXECUTION_NOT_FOUND"
            && self.ledger.belongs_to(tenant, id)
            && !self.log.is_deleted(id);
        must(self.excuses.forgets || !denies, EXISTS, || {
            format!("{id} of {tenant} was answered {reason}")
        })
    }

    fn intruder(&self, asked: &Asked, bytes: &[u8]) -> Checked {
        let outcomes = decoded::<v1::CompleteResponse>(bytes)?.outcomes;
        let refused = outcomes.iter().all(|outcome| {
            let status = match &outcome.outcome {
                Some(v1::lease_outcome::Outcome::Status(status)) => reason_of(status),
                _ => String::new(),
            };
            // Whose an execution is cannot be said of one that cannot be read.
            let unread = self.excuses.misreads && status == "DATA_DAMAGED";
            unread || status == "EXECUTION_NOT_FOUND"
        });
        let worker = !asked.leases().is_empty();
        must(worker && refused, TENANTS, || {
            format!("{asked:?} was answered {outcomes:?}")
        })
    }

    fn reply(&mut self, asked: &Asked, bytes: &[u8]) -> Checked {
        match asked {
            Asked::Enqueue(asked) => {
                let reply: v1::EnqueueResponse = decoded(bytes)?;
                self.made(asked, reply.execution, reply.existing, "Enqueue")
            }
            Asked::Run(asked) => {
                let reply: v1::RunResponse = decoded(bytes)?;
                let enqueue = asked.enqueue.clone().unwrap_or_default();
                self.made(&enqueue, reply.execution, reply.existing, "Run")
            }
            Asked::Batch(asked) => self.batch(asked, &decoded(bytes)?),
            Asked::Get(asked) => {
                let record = some(decoded::<v1::GetResponse>(bytes)?.execution)?;
                let same = record.execution_id == asked.execution_id;
                must(same, ANSWERED, || format!("{asked:?}: {record:?}"))?;
                self.show(&asked.tenant_id, &record, asked.view() != v1::View::Basic)
            }
            Asked::Cancel(asked) => {
                let record = some(decoded::<v1::CancelResponse>(bytes)?.execution)?;
                let stops = record.cancel_requested
                    || record.status() == v1::BackgroundExecutionStatus::Cancelled;
                must(stops, ANSWERED, || format!("{asked:?}: {record:?}"))?;
                self.show(&asked.tenant_id, &record, true)
            }
            Asked::Spawn(asked) => self.spawned(asked, &decoded(bytes)?),
            Asked::List(asked) => self.list(asked, &decoded(bytes)?),
            Asked::Count(asked) => self.count(asked, decoded(bytes)?),
            Asked::Delete(asked) => self.deleted(asked),
            Asked::Wait(asked) => self.wait(asked, &decoded(bytes)?),
            Asked::Peek(asked) => {
                let reply: v1::PeekResponse = decoded(bytes)?;
                let basic = |record| self.show(&asked.tenant_id, record, false);
                reply.executions.iter().try_for_each(basic)
            }
            Asked::Explain(asked) => self.explained(asked, &decoded(bytes)?),
            Asked::Stats(_) => decoded::<v1::GetQueueStatsResponse>(bytes).map(drop),
            Asked::DeadLetters(asked) => self.dead_letters(asked, &decoded(bytes)?),
            Asked::Discard(asked) => self.discarded(asked, &decoded(bytes)?),
            Asked::Redrive(asked) => self.redriven(asked, decoded(bytes)?),
            Asked::Lease(asked) => {
                let leases = decoded::<v1::LeaseResponse>(bytes)?.leases;
                let most = asked.max_executions.max(1) as usize;
                must(leases.len() <= most, ANSWERED, || {
                    format!("{} leases", leases.len())
                })?;
                leases
                    .iter()
                    .try_for_each(|lease| self.ledger.leased(lease, self.log))
            }
            Asked::Renew(_) | Asked::Progress(_) => self.settled(asked, Reported::Renewed, bytes),
            Asked::Complete(_) => {
                self.settled(asked, Reported::Ended(OutcomeKind::Completed), bytes)
            }
            Asked::Fail(_) => self.settled(asked, Reported::Ended(OutcomeKind::Failed), bytes),
            Asked::Release(_) => self.settled(asked, Reported::Ended(OutcomeKind::Released), bytes),
            Asked::Suspend(_)
            | Asked::Steps(_)
            | Asked::Input(_)
            | Asked::Pause(_)
            | Asked::Resume(_)
            | Asked::Story(..) => self.of_run(asked, bytes),
        }
    }

    fn show(&mut self, tenant: &str, record: &v1::BackgroundExecution, full: bool) -> Checked {
        self.ledger.shown(Some(tenant), record, full, self.log)
    }

    fn made(
        &mut self,
        asked: &v1::EnqueueRequest,
        record: Option<v1::BackgroundExecution>,
        existing: bool,
        scope: &str,
    ) -> Checked {
        let record = some(record)?;
        self.ledger
            .enqueued(asked, &record.execution_id, existing, self.log)?;
        self.show(&asked.tenant_id, &record, true)?;
        let at_ms = crate::check::queued_ms(&record);
        let scope = format!("{scope} {}", asked.tenant_id);
        let ids = vec![record.execution_id];
        self.ledger
            .same_request(&scope, &asked.request_id, ids, at_ms)
    }

    fn batch(
        &mut self,
        asked: &v1::EnqueueBatchRequest,
        reply: &v1::EnqueueBatchResponse,
    ) -> Checked {
        let many = reply.results.len();
        must(many == asked.items.len(), ANSWERED, || {
            format!("{many} results: {asked:?}")
        })?;
        let (mut ids, mut at_ms) = (Vec::new(), 0);
        for (item, result) in asked.items.iter().zip(&reply.results) {
            let record = some(result.execution.clone())?;
            let item = v1::EnqueueRequest {
                tenant_id: asked.tenant_id.clone(),
                ..item.clone()
            };
            self.ledger
                .enqueued(&item, &record.execution_id, result.existing, self.log)?;
            self.show(&asked.tenant_id, &record, false)?;
            at_ms = at_ms.max(crate::check::queued_ms(&record));
            ids.push(record.execution_id);
        }
        let scope = format!("Batch {}", asked.tenant_id);
        self.ledger
            .same_request(&scope, &asked.request_id, ids, at_ms)
    }

    fn wait(&mut self, asked: &v1::WaitRequest, reply: &v1::WaitResponse) -> Checked {
        use v1::wait_outcome::Outcome;
        let many = reply.outcomes.len();
        must(many == asked.execution_ids.len(), ANSWERED, || {
            format!("{many}: {asked:?}")
        })?;
        let (mut ended, mut unread) = (0, 0);
        for (id, outcome) in asked.execution_ids.iter().zip(&reply.outcomes) {
            match &outcome.outcome {
                Some(Outcome::Execution(record)) => {
                    must(record.execution_id == *id, ANSWERED, || {
                        format!("{id}: {record:?}")
                    })?;
                    self.show(&asked.tenant_id, record, false)?;
                    ended += usize::from(record.completed_at.is_some());
                }
                Some(Outcome::Status(status)) => {
                    let reason = reason_of(status);
                    self.exists(&asked.tenant_id, id, &reason)?;
                    // Whether an execution has ended is not said if it cannot be shown.
                    if self.excuses.misreads && reason == "DATA_DAMAGED" {
                        unread += 1;
                    } else {
                        ended += 1;
                    }
                }
                None => return Err(broken(ANSWERED, "a wait without an outcome")),
            }
        }
        let needed = match asked.wait_for() {
            v1::WaitFor::Any => 1,
            v1::WaitFor::Count => asked.count as usize,
            _ => many,
        };
        let perhaps = ended < needed && needed <= ended + unread;
        must(
            perhaps || reply.satisfied == (ended >= needed),
            "a wait is satisfied when enough ended",
            || format!("{ended} of {needed}, satisfied {}", reply.satisfied),
        )
    }

    fn settled(&mut self, asked: &Asked, reported: Reported, bytes: &[u8]) -> Checked {
        let reply: v1::CompleteResponse = decoded(bytes)?;
        self.outcomes(reported, &asked.leases(), &reply.outcomes)
    }

    fn outcomes(
        &mut self,
        reported: Reported,
        leases: &[v1::LeaseRef],
        outcomes: &[v1::LeaseOutcome],
    ) -> Checked {
        let many = outcomes.len();
        must(many == leases.len(), ANSWERED, || {
            format!("{many} outcomes for {leases:?}")
        })?;
        for (lease, one) in leases.iter().zip(outcomes) {
            let refused = match &one.outcome {
                Some(v1::lease_outcome::Outcome::Status(status)) => Some(reason_of(status)),
                _ => None,
            };
            let unread = refused.as_deref() == Some("DATA_DAMAGED");
            if unread && self.excuses.misreads {
                continue;
            }
            must(refused.as_deref() != Some("DISK_FULL"), FULL, || {
                format!("{lease:?} was answered {refused:?}")
            })?;
            self.ledger.settled(reported, lease, one, self.log)?;
        }
        Ok(())
    }

    /// Judges a message on an enqueue stream. `sent` holds the items that were not answered yet.
    ///
    /// # Errors
    /// The invariant that the message violates.
    pub fn enqueue_stream(
        &mut self,
        sent: &mut VecDeque<v1::EnqueueRequest>,
        bytes: &[u8],
    ) -> Checked {
        use v1::enqueue_outcome::Outcome;
        for outcome in decoded::<v1::EnqueueStreamResponse>(bytes)?.outcomes {
            let asked = sent.pop_front();
            let asked = asked.ok_or_else(|| broken(ANSWERED, "an outcome of nothing"))?;
            match outcome.outcome {
                Some(Outcome::Result(result)) => {
                    let (id, existing) = (result.execution_id, result.existing);
                    self.ledger.enqueued(&asked, &id, existing, self.log)?;
                    let at_ms = self.queued_at(&id)?;
                    let scope = format!("Enqueue {}", asked.tenant_id);
                    if let Some(at_ms) = at_ms {
                        let ids = vec![id];
                        self.ledger
                            .same_request(&scope, &asked.request_id, ids, at_ms)?;
                    }
                }
                Some(Outcome::Status(status)) => {
                    let (asked, reason) = (Asked::Enqueue(asked), reason_of(&status));
                    self.denial(&asked, &reason)?;
                    self.refusal(&asked, &reason)?;
                }
                None => return Err(broken(ANSWERED, "an item without an outcome")),
            }
        }
        Ok(())
    }

    fn queued_at(&self, id: &str) -> Result<Option<u64>, Violation> {
        let birth = crate::check::birth_of(id)?;
        Ok(self.log.durable().slot(birth).map(|slot| slot.queued_at_ms))
    }

    /// Judges a message on a `Work` stream.
    ///
    /// # Errors
    /// The invariant that the message violates.
    pub fn work_stream(&mut self, stream: &mut WorkAsked, bytes: &[u8]) -> Checked {
        use v1::work_response::Message as Down;
        let message = some(decoded::<v1::WorkResponse>(bytes)?.message)?;
        match message {
            Down::Welcome(welcome) => {
                let sent: BTreeSet<_> = stream.held.iter().map(|one| &one.lease_token).collect();
                let known = welcome
                    .held
                    .iter()
                    .all(|one| sent.contains(&one.lease_token));
                must(known, ANSWERED, || {
                    format!("{welcome:?}, held {:?}", stream.held)
                })
            }
            Down::Leases(leases) => {
                stream.leased += leases.leases.len() as u64;
                must(
                    stream.leased <= stream.credit,
                    "leases stay within the credit",
                    || format!("{} leases for {} credits", stream.leased, stream.credit),
                )?;
                let mut leases = leases.leases.iter();
                leases.try_for_each(|lease| self.ledger.leased(lease, self.log))
            }
            Down::Outcomes(outcomes) => {
                let asked = stream.reports.pop_front();
                let (reported, leases) =
                    asked.ok_or_else(|| broken(ANSWERED, "outcomes of no report"))?;
                self.outcomes(reported, &leases, &outcomes.outcomes)
            }
            Down::Cancels(_) | Down::Lost(_) | Down::Drain(_) | Down::Pauses(_) => Ok(()),
        }
    }
}

/// The messages that a worker sent on its stream, as far as replies depend on them.
#[derive(Debug, Default)]
pub struct WorkAsked {
    /// Leases held from an earlier stream.
    pub held: Vec<v1::LeaseRef>,
    /// Total number of leases that the worker has allowed.
    pub credit: u64,
    /// Total number of leases that the worker has received.
    pub leased: u64,
    /// Reports that were not answered yet.
    pub reports: VecDeque<(Reported, Vec<v1::LeaseRef>)>,
}
