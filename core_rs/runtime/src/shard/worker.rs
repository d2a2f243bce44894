//! The workers' unary commands: lease, renew, report.

use std::sync::Arc;

use backlane_engine::command::{Held, Known, Report, Taker};
use backlane_engine::decide::Speaker;
use backlane_engine::reply::Settled;
use backlane_engine::rules::access::Principal;
use backlane_engine::rules::id::ExecutionId;
use backlane_wire::{ApiError, LeaseCall, reply};

use super::Shard;
use super::calls::Caller;
use super::dispatch::LeaseWaiting;

/// What became of one item of a worker's command.
pub(super) type Outcome = Result<(ExecutionId, Settled), ApiError>;

impl Shard {
    pub(super) fn lease_call(&mut self, caller: &Caller, lease: LeaseCall) {
        let LeaseCall {
            worker,
            offer,
            max,
            duration_ms,
            wait_ms,
        } = lease;
        if self.draining {
            return self.reply(caller.ticket, reply::lease_response(&[]));
        }
        let wait_ms = wait_ms.min(caller.timeout_ms.unwrap_or(u64::MAX));
        let until_ms = self.now.mono_ms.saturating_add(wait_ms);
        let offer = self.engine.acquire_offer(offer);
        let taker = Taker {
            worker,
            offer,
            duration_ms,
            stream: None,
        };
        self.takers.insert(
            caller.ticket,
            LeaseWaiting {
                taker,
                max,
                until_ms,
            },
        );
    }

    pub(super) fn renew(
        &mut self,
        caller: &Caller,
        items: &[Result<Held, ApiError>],
        duration_ms: Option<u64>,
        known: &Known,
    ) {
        let principal = &caller.principal;
        let outcomes: Vec<Outcome> = items
            .iter()
            .map(|item| {
                let held = item.as_ref().map_err(Clone::clone)?;
                let speaker = Speaker { principal, known };
                let settled = self
                    .engine
                    .renew(held, duration_ms, None, speaker, self.now);
                Ok((held.id, settled?))
            })
            .collect();
        self.absorb_timers();
        self.reply(caller.ticket, reply::outcomes_response(&outcomes));
    }

    pub(super) fn report(
        &mut self,
        caller: &Caller,
        items: &[Result<(Held, Report), ApiError>],
        known: &Known,
    ) {
        let outcomes = self.settle(&caller.principal, items, known);
        self.reply(caller.ticket, reply::outcomes_response(&outcomes));
    }

    /// Settles items one by one: each succeeds or fails by itself.
    pub(super) fn settle(
        &mut self,
        principal: &Arc<Principal>,
        items: &[Result<(Held, Report), ApiError>],
        known: &Known,
    ) -> Vec<Outcome> {
        let outcomes = items
            .iter()
            .map(|item| {
                let (held, report) = item.as_ref().map_err(Clone::clone)?;
                let speaker = Speaker { principal, known };
                let settled = self.engine.report(held, report, speaker, self.now)?;
                Ok((held.id, settled))
            })
            .collect();
        self.absorb_timers();
        outcomes
    }
}
