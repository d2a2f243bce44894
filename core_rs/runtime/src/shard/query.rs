//! Queries: what callers look at. They change nothing.

use backlane_engine::command::{Known, OfferSpec};
use backlane_engine::error::Refusal;
use backlane_engine::reply::Counts;
use backlane_engine::rules::id::{Birth, ExecutionId};
use backlane_engine::rules::status::Status;
use backlane_wire::{Call, View, reply};

use crate::message::{ListQuery, Query};

use super::Shard;
use super::answer::{Answer, Page, Shape, Shown};
use super::calls::Caller;

/// Executions a page of unfinished ones looks at: a page may be shorter and have a next one.
const PAGE_LOOKS: usize = 100_000;

impl Shard {
    pub(super) fn get(
        &mut self,
        caller: &Caller,
        tenant: &str,
        id: &ExecutionId,
        view: View,
        known: &Known,
    ) {
        let asked = not_found(tenant, id);
        if !self.is_there(tenant, id, known) {
            return self.refuse(caller.ticket, &asked.into());
        }
        let (ticket, shown) = (caller.ticket, vec![self.shown(id.birth)]);
        self.answer(Answer {
            ticket,
            view,
            shown,
            shape: Shape::Got { asked },
        });
    }

    /// Whether that tenant has such an execution, finished or not.
    pub(super) fn is_there(&self, tenant: &str, id: &ExecutionId, known: &Known) -> bool {
        let finished = known.finished.get(&id.birth).and_then(Option::as_ref);
        self.engine.state().find(tenant, id).is_some()
            || finished.is_some_and(|done| done.id == *id && *done.tenant == *tenant)
    }

    pub(super) fn list(&mut self, caller: &Caller, call: &Call) {
        let Call::List {
            tenant,
            status,
            page_size,
            before,
            view,
        } = call
        else {
            return;
        };
        let before = before.unwrap_or(self.engine.state().next_birth());
        let (living, looked_to) = self.living_page(tenant, *status, before, *page_size);
        let page = Page {
            tenant: tenant.clone(),
            status: *status,
            size: *page_size,
            looked_to,
        };
        let shown: Vec<Shown> = living.into_iter().map(|birth| self.shown(birth)).collect();
        let payloads = shown.iter().filter(|shown| shown.payload.is_none());
        let payloads = payloads.map(|shown| shown.birth).collect();
        let wanted = status.is_none_or(Status::is_finished);
        let list = wanted.then(|| ListQuery {
            tenant: tenant.clone(),
            status: *status,
            before,
            limit: *page_size,
        });
        let (ticket, view, shape) = (caller.ticket, *view, Shape::Listed { page });
        let answer = Box::new(Answer {
            ticket,
            view,
            shown,
            shape,
        });
        // The store shows those that just finished only once that is durable.
        self.read_for_answer(
            answer,
            Query {
                payloads,
                list,
                ..Query::default()
            },
            true,
        );
    }

    /// A tenant's unfinished executions, newest first, and how far back it looked where it
    /// stopped early.
    fn living_page(
        &self,
        tenant: &str,
        status: Option<Status>,
        before: Birth,
        most: usize,
    ) -> (Vec<Birth>, Option<Birth>) {
        let state = self.engine.state();
        let Some(key) = state.tenants().by_name(tenant) else {
            return (Vec::new(), None);
        };
        let mut page = Vec::new();
        let living = state.tenants().tenant(key).living.range(..before).rev();
        for (looks, birth) in living.enumerate() {
            if page.len() == most {
                break;
            }
            if looks == PAGE_LOOKS {
                return (page, Some(*birth));
            }
            let stands = state.slot(*birth).map(|slot| slot.phase.status());
            if status.is_none() || stands == status {
                page.push(*birth);
            }
        }
        (page, None)
    }

    pub(super) fn peek(&mut self, caller: &Caller, tenant: &str, offer: &OfferSpec, most: usize) {
        let births = self.engine.peek(tenant, offer, most, self.now);
        let shown = births.into_iter().map(|birth| self.shown(birth)).collect();
        let (ticket, view, shape) = (caller.ticket, View::Basic, Shape::Peeked);
        self.answer(Answer {
            ticket,
            view,
            shown,
            shape,
        });
    }

    pub(super) fn queue_stats(&mut self, caller: &Caller, tenant: &str) {
        let state = self.engine.state();
        let tenants = state.tenants();
        let (mut counts, mut oldest, mut callables) = (Counts::default(), None, Vec::new());
        if let Some(key) = tenants.by_name(tenant) {
            counts = state.counts(key);
            oldest = state.oldest_queued_at_ms(key);
            let queues = tenants.queues_of(key).map(|queue| tenants.queue(queue));
            callables.extend(queues.map(|queue| (queue.callable.clone(), queue.counts())));
            callables.retain(|(_, counts)| *counts != Counts::default());
        }
        callables.truncate(self.settings.limits.max_page);
        self.reply(
            caller.ticket,
            reply::queue_stats_response(counts, oldest, &callables),
        );
    }
}

pub(super) fn not_found(tenant: &str, id: &ExecutionId) -> Refusal {
    Refusal::ExecutionNotFound {
        execution_id: id.to_string(),
        tenant: tenant.to_owned(),
    }
}
