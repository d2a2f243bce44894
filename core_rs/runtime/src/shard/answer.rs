//! Answers that show records: what is in memory goes in at once, the rest is read.
//!
//! Owns the way from «these executions, as they stood when it was decided» to encoded bytes,
//! below the size any client takes. Refuses to decide what is shown.

use backlane_engine::command::Held;
use backlane_engine::error::Refusal;
use backlane_engine::fact::Living;
use backlane_engine::reply::Granted;
use backlane_engine::rules::id::Birth;
use backlane_store::Bytes;
use backlane_wire::{
    ApiError, DecodeError, Ending, Standing, View, brief, page_token, record, reply,
};

use crate::message::{Found, Query, Ticket};

use super::Shard;
use super::dispatch::lease_bytes;

/// gRPC clients take 4 MiB unless told otherwise; every reply stays below.
pub(super) const MAX_REPLY_BYTES: usize = 3_900_000;
/// An id and a status with what frames them in a reply.
const BRIEF_BYTES: usize = 64;

/// One record of an answer.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) birth: Birth,
    /// As it stood; `None` for one that is finished.
    pub(super) living: Option<Box<Living>>,
    pub(super) payload: Option<Bytes>,
    pub(super) ending: Option<Bytes>,
}

/// What an answer is.
#[derive(Debug)]
pub(super) enum Shape {
    Enqueued {
        existing: bool,
    },
    Batch {
        existing: Vec<bool>,
        whole: bool,
    },
    Ran {
        existing: bool,
    },
    Got {
        asked: Refusal,
    },
    Listed {
        page: Page,
    },
    Waited {
        ids: Vec<Result<Birth, ApiError>>,
        satisfied: bool,
    },
    Cancelled,
    Peeked,
    Leases {
        granted: Vec<Granted>,
        stream: bool,
    },
}

/// What a next page continues.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) tenant: Box<str>,
    pub(super) status: Option<backlane_engine::rules::status::Status>,
    pub(super) size: usize,
    /// Where the look at the unfinished ones stopped early.
    pub(super) looked_to: Option<Birth>,
}

/// An answer on its way.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) ticket: Ticket,
    pub(super) view: View,
    pub(super) shown: Vec<Shown>,
    pub(super) shape: Shape,
}

impl Shard {
    /// An execution as it stands now.
    pub(super) fn shown(&self, birth: Birth) -> Shown {
        let living = self.engine.state().living(birth).map(Box::new);
        let finished = living.is_none();
        Shown {
            birth,
            living,
            payload: self.records.payload(birth).cloned(),
            ending: if finished {
                self.records.ending(birth).cloned()
            } else {
                None
            },
        }
    }

    /// Sends an answer, after reading what is missing.
    pub(super) fn answer(&mut self, answer: Answer) {
        let missing = |shown: &&Shown| shown.payload.is_none();
        let payloads = answer
            .shown
            .iter()
            .filter(missing)
            .map(|shown| shown.birth)
            .collect();
        let unread = |shown: &&Shown| shown.living.is_none() && shown.ending.is_none();
        let endings: Vec<_> = answer
            .shown
            .iter()
            .filter(unread)
            .map(|shown| shown.birth)
            .collect();
        let query = Query {
            payloads,
            endings,
            ..Query::default()
        };
        if query == Query::default() {
            self.send(answer);
        } else {
            self.read_for_answer(Box::new(answer), query, false);
        }
    }

    /// A read for an answer is done.
    pub(super) fn show(&mut self, mut answer: Answer, found: &Found) {
        for birth in &found.listed {
            if !answer.shown.iter().any(|shown| shown.birth == *birth) {
                answer.shown.push(Shown {
                    birth: *birth,
                    living: None,
                    payload: None,
                    ending: None,
                });
            }
        }
        for shown in &mut answer.shown {
            let payload = || found.payloads.get(&shown.birth).cloned();
            shown.payload = shown.payload.take().or_else(payload);
            let ending = || found.endings.get(&shown.birth).cloned();
            shown.ending = shown.ending.take().or_else(ending);
        }
        self.send(answer);
    }

    fn send(&mut self, answer: Answer) {
        let Answer {
            ticket,
            view,
            mut shown,
            shape,
        } = answer;
        match shape {
            Shape::Leases { granted, stream } => self.send_leases(ticket, &granted, &shown, stream),
            Shape::Batch { existing, whole } => {
                let records = self.capped(&shown, view);
                let results = records.into_iter().zip(existing);
                let results = results.map(|(record, existing)| Some((record?, existing)));
                match results.collect::<Option<Vec<_>>>() {
                    Some(results) => {
                        self.reply(ticket, reply::enqueue_batch_response(&results, whole));
                    }
                    None => self.refuse(ticket, &removed()),
                }
            }
            Shape::Listed { page } => {
                shown.sort_unstable_by_key(|shown| std::cmp::Reverse(shown.birth));
                self.send_page(ticket, view, &shown, &page);
            }
            Shape::Waited { ids, satisfied } => {
                self.send_waited(ticket, view, &shown, ids, satisfied);
            }
            Shape::Peeked => {
                let records: Vec<_> = self.capped(&shown, view).into_iter().flatten().collect();
                self.reply(ticket, reply::peek_response(&records));
            }
            Shape::Enqueued { .. } | Shape::Ran { .. } | Shape::Got { .. } | Shape::Cancelled => {
                self.send_one(ticket, view, shown.first(), &shape);
            }
        }
    }

    fn send_one(&mut self, ticket: Ticket, view: View, shown: Option<&Shown>, shape: &Shape) {
        let record = shown.and_then(|shown| self.encode(shown, view));
        match (shape, record) {
            (Shape::Enqueued { existing }, Some(record)) => {
                self.reply(ticket, reply::enqueue_response(&record, *existing));
            }
            (Shape::Ran { existing }, Some(record)) => {
                self.reply(ticket, reply::run_response(&record, *existing));
            }
            (Shape::Cancelled, Some(record)) => {
                self.reply(ticket, reply::cancel_response(&record));
            }
            (_, Some(record)) => self.reply(ticket, reply::get_response(&record)),
            (Shape::Got { asked }, None) => self.refuse(ticket, &ApiError::from(asked.clone())),
            (_, None) => self.refuse(ticket, &removed()),
        }
    }

    fn encode(&self, shown: &Shown, view: View) -> Option<Vec<u8>> {
        self.encode_as(shown, |birth, shard, payload, standing| {
            record(birth, shard, payload, standing, view)
        })
    }

    fn encode_as(
        &self,
        shown: &Shown,
        form: impl Fn(Birth, u16, &[u8], Standing<'_>) -> Result<Vec<u8>, DecodeError>,
    ) -> Option<Vec<u8>> {
        let payload = shown.payload.as_ref()?;
        let shard = self.engine.state().shard();
        if let Some(living) = &shown.living {
            return form(shown.birth, shard, payload, Standing::Living(living)).ok();
        }
        let ending = Ending::decode(shown.ending.as_ref()?).ok()?;
        form(shown.birth, shard, payload, Standing::Ended(&ending)).ok()
    }

    /// Records in order. Those that would make a reply too large are shown by id and status; room
    /// for those of all that follow is kept. `None` stands in the place of what was removed.
    fn capped(&self, shown: &[Shown], view: View) -> Vec<Option<Vec<u8>>> {
        let mut room = MAX_REPLY_BYTES.saturating_sub(shown.len() * BRIEF_BYTES);
        let encoded = shown.iter().map(|shown| {
            let full = self.encode(shown, view)?;
            if full.len() <= room {
                room -= full.len();
                return Some(full);
            }
            self.encode_as(shown, brief)
        });
        encoded.collect()
    }

    fn send_page(&mut self, ticket: Ticket, view: View, shown: &[Shown], page: &Page) {
        let mut total = 0;
        let mut records = Vec::new();
        let mut last = None;
        // Beyond where the look stopped, finished ones could hide unfinished ones between them.
        let seen = |shown: &&Shown| page.looked_to.is_none_or(|to| shown.birth > to);
        for shown in shown.iter().filter(seen).take(page.size) {
            let Some(record) = self.encode(shown, view) else {
                continue;
            };
            total += record.len() + 8;
            if total > MAX_REPLY_BYTES && !records.is_empty() {
                break;
            }
            last = Some(shown.birth);
            records.push(record);
        }
        let shown_last = shown.last().map(|shown| shown.birth);
        // A full page, or one cut early, may have a next one; an empty next page is no harm.
        let more = shown.len() >= page.size || last != shown_last;
        let last = last.filter(|_| more).or(page.looked_to.map(|to| to + 1));
        let next = last.map(|last| page_token(&page.tenant, page.status, last));
        self.reply(ticket, reply::list_response(&records, next.as_deref()));
    }

    fn send_waited(
        &mut self,
        ticket: Ticket,
        view: View,
        shown: &[Shown],
        ids: Vec<Result<Birth, ApiError>>,
        satisfied: bool,
    ) {
        let records = self.capped(shown, view);
        let births = shown.iter().map(|shown| shown.birth);
        let records: std::collections::BTreeMap<_, _> = births.zip(records).collect();
        let outcomes: Vec<_> = ids
            .into_iter()
            .map(|id| {
                let birth = id?;
                records.get(&birth).cloned().flatten().ok_or_else(removed)
            })
            .collect();
        self.reply(ticket, reply::wait_response(&outcomes, satisfied));
    }

    /// Sends leases that are still held: one may have ended while its payload was read.
    fn send_leases(&mut self, ticket: Ticket, granted: &[Granted], shown: &[Shown], stream: bool) {
        let mut leases = Vec::with_capacity(granted.len());
        for (granted, shown) in granted.iter().zip(shown) {
            let holding = self.engine.state().holding(granted.birth);
            if holding.is_none_or(|holding| holding.token != granted.holding.token) {
                continue;
            }
            if let Some(record) = self.encode(&self.refreshed(shown), View::Full) {
                leases.push(reply::lease(&record, granted));
            }
        }
        if !stream {
            let held: Vec<_> = granted
                .iter()
                .filter_map(|granted| self.held(granted))
                .collect();
            for held in &held {
                self.engine.acknowledge(held);
            }
            return self.reply(ticket, reply::lease_response(&leases));
        }
        self.keep_promise(ticket, lease_bytes(granted));
        if !leases.is_empty() {
            self.send_message(ticket, reply::work_leases(&leases));
        }
        self.line_up_stream(ticket);
        self.next_frame(ticket);
    }

    // What happened to it while its payload was read, such as a cancel, belongs into the lease.
    fn refreshed(&self, shown: &Shown) -> Shown {
        let living = self.engine.state().living(shown.birth).map(Box::new);
        Shown {
            birth: shown.birth,
            living,
            payload: shown.payload.clone(),
            ending: None,
        }
    }

    pub(super) fn held(&self, granted: &Granted) -> Option<Held> {
        let id = self.engine.state().id(granted.birth)?;
        Some(Held {
            id,
            token: Some(granted.holding.token),
        })
    }
}

/// Retention took it between the decision and the answer.
fn removed() -> ApiError {
    ApiError::internal("a record was removed")
}
