//! The ledger: the replies so far, which must remain true.
//!
//! Owns all acknowledged facts as clients know them. Refuses to know decisions that were not
//! acknowledged: a reply is judged by the log in the store.

use std::collections::BTreeMap;

use backlane_engine::fact::OutcomeKind;
use backlane_engine::rules::id::LeaseToken;
use backlane_engine::rules::status::Status;

use crate::api::{millis, reason_of, v1};

use super::record::{Stand, check_durable, check_identical, check_whole, parsed};
use super::{Checked, LogCheck, Steps, broken, each_once, must};

const TERMINAL: &str = "nothing follows a terminal status";
const ONCE: &str = "at most one result is accepted";
const STALE: &str = "a stale token changes nothing";
const SAME: &str = "same request id, same execution";
const TOKENS: &str = "lease tokens are never reused";
const TENANTS: &str = "no call reads or writes across tenants";
const DAY_MS: u64 = 24 * 3_600_000;

/// The kinds of commands about leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// A renewal.
    Renewed,
    /// A report that ends a lease.
    Ended(OutcomeKind),
}

#[derive(Debug, Default)]
struct Seen {
    made_with: Option<v1::EnqueueRequest>,
    stands: BTreeMap<u64, Stand>,
    end: Option<(u64, i32)>,
    full_end: Option<v1::BackgroundExecution>,
    completed_by: Option<LeaseToken>,
}

/// The contents of all replies.
#[derive(Debug, Default)]
pub struct Ledger {
    seen: BTreeMap<String, Seen>,
    requests: BTreeMap<String, (Vec<String>, u64)>,
    leases: BTreeMap<String, (String, u32)>,
    attempts: BTreeMap<(String, u32), String>,
    /// The steps that were acknowledged.
    pub steps: Steps,
    refused_as_full: u64,
    completed_when_full: u64,
}

impl Ledger {
    /// Notes a refusal because the disk is full.
    pub const fn refused_as_full(&mut self) {
        self.refused_as_full += 1;
    }

    /// How many requests were refused because the disk was full, and how many outputs were
    /// accepted after the first of these refusals.
    #[must_use]
    pub const fn on_a_full_disk(&self) -> (u64, u64) {
        (self.refused_as_full, self.completed_when_full)
    }

    /// The ids of the acknowledged executions, each with its request.
    pub fn acknowledged(&self) -> impl Iterator<Item = (&String, &v1::EnqueueRequest)> {
        self.seen
            .iter()
            .filter_map(|(id, seen)| Some((id, seen.made_with.as_ref()?)))
    }

    /// The ids that replies have shown.
    pub fn ids(&self) -> impl Iterator<Item = &String> {
        self.seen.keys()
    }

    /// Notes a reply to an enqueue.
    ///
    /// # Errors
    /// The invariant that the reply violates.
    pub fn enqueued(
        &mut self,
        asked: &v1::EnqueueRequest,
        id: &str,
        existing: bool,
        log: &LogCheck,
    ) -> Checked {
        let birth = parsed(id)?.birth;
        must(
            birth < log.durable().next_birth(),
            "a reply shows only durable data",
            || format!("{id} of {asked:?}"),
        )?;
        let seen = self.seen.entry(id.to_owned()).or_default();
        match &seen.made_with {
            Some(before) if !existing || asked.dedup_key.is_empty() => {
                let same = same_body(before, asked);
                must(existing && same || before == asked, SAME, || {
                    format!("{id}: {before:?}, then {asked:?}")
                })
            }
            None if !existing => {
                seen.made_with = Some(asked.clone());
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Notes a reply to a redrive that made a new execution: it has what the old one had, but for
    /// what the request changed and for its times.
    ///
    /// # Errors
    /// The invariant that the reply violates.
    pub fn redriven(&mut self, asked: &v1::RedriveRequest, id: &str, log: &LogCheck) -> Checked {
        if asked.input.is_none() && !asked.restart {
            self.steps.taken_over(&asked.execution_id, id);
        }
        let old = self.seen.get(&asked.execution_id);
        let Some(old) = old.and_then(|seen| seen.made_with.clone()) else {
            return Ok(());
        };
        let made_with = v1::EnqueueRequest {
            input: asked.input.clone().or(old.input),
            config: asked.config.clone().or(old.config),
            not_before: None,
            start_deadline: None,
            deadline: None,
            request_id: String::new(),
            // What the old execution waited for is over.
            depends_on: Vec::new(),
            depends_on_items: Vec::new(),
            ..old
        };
        self.enqueued(&made_with, id, false, log)
    }

    /// Checks an execution that was enqueued for a dependent of one that was redriven.
    ///
    /// # Errors
    /// The invariant that the reply violates.
    pub fn followed(&self, id: &str, log: &LogCheck) -> Checked {
        let only = "only skipped dependents follow a redrive";
        let from = log.redriven.get(&parsed(id)?.birth).copied();
        let skipped = from.and_then(|from| log.end_of(from));
        let is_skipped = skipped.is_some_and(|(_, status)| status == Status::Cancelled);
        must(is_skipped, only, || {
            format!("{id} redrives {from:?}, which is {skipped:?}")
        })?;
        let old = self.seen.iter().find(|(id, _)| {
            let birth = parsed(id).map(|id| id.birth).ok();
            birth == from
        });
        let made_with = old.and_then(|(_, seen)| seen.made_with.as_ref());
        let depends =
            made_with.is_none_or(|it| !it.depends_on.is_empty() || !it.depends_on_items.is_empty());
        must(depends, only, || format!("{id} redrives {made_with:?}"))
    }

    /// Whether a reply has shown that a tenant has this execution.
    #[must_use]
    pub fn belongs_to(&self, tenant: &str, id: &str) -> bool {
        let made_with = self.seen.get(id).and_then(|seen| seen.made_with.as_ref());
        made_with.is_some_and(|made_with| made_with.tenant_id == tenant)
    }

    /// Notes the executions that a request id was answered with.
    ///
    /// # Errors
    /// The violation, if the request id was answered with other executions within a day.
    pub fn same_request(&mut self, scope: &str, id: &str, ids: Vec<String>, at_ms: u64) -> Checked {
        if id.is_empty() {
            return Ok(());
        }
        let key = format!("{scope} {id}");
        if let Some((before, since_ms)) = self.requests.get(&key) {
            let same = *before == ids || at_ms.abs_diff(*since_ms) >= DAY_MS;
            must(same, SAME, || format!("{key}: {before:?}, then {ids:?}"))?;
            if *before == ids {
                return Ok(());
            }
        }
        self.requests.insert(key, (ids, at_ms));
        Ok(())
    }

    /// Notes a record that a reply has shown to a tenant.
    ///
    /// # Errors
    /// The invariant that the record violates.
    pub fn shown(
        &mut self,
        tenant: Option<&str>,
        record: &v1::BackgroundExecution,
        full: bool,
        log: &LogCheck,
    ) -> Checked {
        let own = tenant.is_none_or(|tenant| tenant == record.tenant_id);
        must(own, TENANTS, || format!("{tenant:?} was shown {record:?}"))?;
        check_whole(record, full)?;
        check_durable(record, log)?;
        let seen = self.seen.entry(record.execution_id.clone()).or_default();
        let stand = Stand::of(record);
        let before = seen.stands.insert(record.version, stand);
        must(
            before.is_none_or(|before| before == stand),
            TERMINAL,
            || format!("version {} was {before:?}: {record:?}", record.version),
        )?;
        if let (true, Some(made_with)) = (full, &seen.made_with) {
            check_identical(made_with, record)?;
        }
        if stand.is_finished() {
            seen.end.get_or_insert((record.version, record.status));
            if full && seen.full_end.is_none() {
                seen.full_end = Some(record.clone());
            }
        }
        self.check_end(record)
    }

    /// Checks that a record agrees with the end that earlier replies have shown, if any has.
    ///
    /// # Errors
    /// The violation, if the record differs.
    pub fn check_end(&self, record: &v1::BackgroundExecution) -> Checked {
        let Some(seen) = self.seen.get(&record.execution_id) else {
            return Ok(());
        };
        let highest = seen.stands.keys().next_back().copied().unwrap_or(0);
        let finished = Stand::of(record).is_finished();
        must(!finished || record.version >= highest, TERMINAL, || {
            format!("{record:?}")
        })?;
        if let Some((version, status)) = seen.end {
            let same = finished && (record.version, record.status) == (version, status);
            must(
                same || !finished && record.version < version,
                TERMINAL,
                || format!("it ended with {status} as version {version}: {record:?}"),
            )?;
        }
        let whole = seen
            .full_end
            .as_ref()
            .filter(|_| finished && record.input.is_some());
        must(whole.is_none_or(|end| end == record), TERMINAL, || {
            format!("{:?} became {record:?}", seen.full_end)
        })
    }

    /// Notes a new lease.
    ///
    /// # Errors
    /// The violation, if the lease token was used before or another invariant is violated.
    pub fn leased(&mut self, lease: &v1::Lease, log: &LogCheck) -> Checked {
        let Some(record) = &lease.execution else {
            return Err(broken(TOKENS, format!("a lease of nothing: {lease:?}")));
        };
        self.shown(None, record, true, log)?;
        let held = (record.execution_id.clone(), lease.attempt);
        let token = lease.lease_token.clone();
        must(record.attempt == lease.attempt, TOKENS, || {
            format!("{lease:?}")
        })?;
        let before = self.leases.insert(token.clone(), held.clone());
        must(before.is_none(), TOKENS, || {
            format!("{token} came twice: {before:?}, {held:?}")
        })?;
        each_once(&self.steps.of(&held.0), &held.0, lease.steps.iter())?;
        let birth = parsed(&held.0)?.birth;
        let before = self.attempts.insert(held, token);
        // A suspended attempt goes on under another token, and so does one of which no worker
        // acknowledged or began the lease.
        let goes_on = |token: LeaseToken| {
            log.report_of(birth, token) == Some(OutcomeKind::Suspended)
                || log.was_undelivered(token)
        };
        let before = before.filter(|before| !LeaseToken::parse(before).is_some_and(goes_on));
        must(before.is_none(), TOKENS, || {
            format!("attempt came twice: {before:?}, {lease:?}")
        })
    }

    /// Notes the reply to a worker's report about one lease.
    ///
    /// # Errors
    /// The violation, if a stale token or a second output was accepted.
    pub fn settled(
        &mut self,
        reported: Reported,
        lease: &v1::LeaseRef,
        outcome: &v1::LeaseOutcome,
        log: &LogCheck,
    ) -> Checked {
        use v1::lease_outcome::Outcome;
        let token = LeaseToken::parse(&lease.lease_token);
        let birth = parsed(&lease.execution_id)?.birth;
        let kept = token.and_then(|token| log.report_of(birth, token));
        match (&outcome.outcome, reported) {
            (Some(Outcome::Result(result)), Reported::Ended(kind)) => {
                let wrong = || format!("{kind:?} with {token:?} gave {result:?}, log {kept:?}");
                must(result.execution_id == lease.execution_id, STALE, wrong)?;
                must(kept == Some(kind), STALE, wrong)?;
                let completed = v1::BackgroundExecutionStatus::Completed as i32;
                if kind == OutcomeKind::Completed && result.status == completed {
                    self.completed_when_full += u64::from(self.refused_as_full > 0);
                    return self.completed(&lease.execution_id, token);
                }
                Ok(())
            }
            (Some(Outcome::Status(status)), Reported::Ended(kind)) => {
                let refused = reason_of(status);
                let accepted =
                    kept == Some(OutcomeKind::Completed) && kind == OutcomeKind::Completed;
                must(!accepted || refused == "EXECUTION_NOT_FOUND", STALE, || {
                    format!("{refused} answered {token:?}, which completed it")
                })
            }
            (Some(Outcome::Result(result)), Reported::Renewed) => {
                must(result.execution_id == lease.execution_id, STALE, || {
                    format!("{result:?}")
                })
            }
            (Some(Outcome::Status(_)), Reported::Renewed) => Ok(()),
            (None, _) => Err(broken(STALE, format!("no outcome for {lease:?}"))),
        }
    }

    fn completed(&mut self, id: &str, token: Option<LeaseToken>) -> Checked {
        let seen = self.seen.entry(id.to_owned()).or_default();
        let unreadable = LeaseToken {
            shard: 0,
            epoch: 0,
            counter: 0,
            random: 0,
        };
        let before = seen.completed_by.replace(token.unwrap_or(unreadable));
        must(before.is_none() || before == token, ONCE, || {
            format!("{id}: {before:?}, then {token:?}")
        })
    }
}

/// The enqueue time in a record, in milliseconds since the epoch.
pub(crate) fn queued_ms(record: &v1::BackgroundExecution) -> u64 {
    record.queued_at.as_ref().map_or(0, millis)
}

/// Whether two requests may share a request id: the first one stands where only other fields
/// differ.
fn same_body(one: &v1::EnqueueRequest, other: &v1::EnqueueRequest) -> bool {
    let body = |asked: &v1::EnqueueRequest| v1::EnqueueRequest {
        tenant_id: asked.tenant_id.clone(),
        callable_name: asked.callable_name.clone(),
        input: asked.input.clone(),
        context: asked.context.clone(),
        dedup_key: asked.dedup_key.clone(),
        depends_on: asked.depends_on.clone(),
        depends_on_items: asked.depends_on_items.clone(),
        ..v1::EnqueueRequest::default()
    };
    body(one) == body(other)
}
