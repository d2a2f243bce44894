//! Work streams: leases down as credit allows, results up.
//!
//! Owns a stream's hello, credit and drain. Refuses to choose leases or to judge results.

use std::collections::BTreeMap;
use std::sync::Arc;

use backlane_engine::command::{Held, Known, OfferKey, OfferSpec, Report, Taker};
use backlane_engine::decide::Speaker;
use backlane_engine::error::Invalid;
use backlane_engine::reply::{Granted, Notice};
use backlane_engine::rules::access::Principal;
use backlane_engine::rules::id::{ExecutionId, LeaseToken};
use backlane_engine::soft::Told;
use backlane_wire::{ApiError, WorkFrame, decode_work, reply};

use crate::message::Ticket;

use super::Shard;
use super::calls::Job;
use super::dispatch::lease_bytes;

/// What a Work stream has.
#[derive(Debug, Default)]
pub(super) struct Work {
    hello: Option<Hello>,
    credit: u64,
    // `None`: bytes are unbounded.
    credit_bytes: Option<u64>,
    draining: bool,
}

#[derive(Debug)]
struct Hello {
    worker: Arc<str>,
    offer: OfferKey,
    duration_ms: u64,
}

impl Shard {
    pub(super) fn work_frame(&mut self, ticket: Ticket, principal: &Arc<Principal>, bytes: &[u8]) {
        let limits = self.settings.limits;
        let mut context = Self::context(&limits, principal, &mut self.random);
        let frame = decode_work(bytes, &mut context).and_then(|frame| {
            self.in_order(ticket, &frame)?;
            Ok(frame)
        });
        match frame {
            Err(error) => return self.end_stream(ticket, Some(&error)),
            Ok(WorkFrame::Report(items)) => {
                let job = Job::WorkReport(ticket, principal.clone(), items);
                return self.run(Box::new(job), Known::default());
            }
            Ok(WorkFrame::Hello {
                worker,
                offer,
                duration_ms,
                held,
            }) => {
                self.hello(ticket, principal, (worker, offer, duration_ms), &held);
            }
            Ok(WorkFrame::Credit { executions, bytes }) => self.credit(ticket, executions, bytes),
            Ok(WorkFrame::Acknowledge(leases)) => {
                for held in &leases {
                    self.engine.acknowledge(held);
                }
            }
            Ok(WorkFrame::Heartbeat) => {}
            Ok(WorkFrame::Drain) => self.with_work(ticket, |work| work.draining = true),
        }
        self.frame_done(ticket);
    }

    /// Hello comes first and once.
    fn in_order(&self, ticket: Ticket, frame: &WorkFrame) -> Result<(), ApiError> {
        let work = self
            .streams
            .get(&ticket)
            .and_then(|stream| stream.work.as_ref());
        let greeted = work.is_some_and(|work| work.hello.is_some());
        match (greeted, matches!(frame, WorkFrame::Hello { .. })) {
            (true, true) => Err(Invalid::new("hello", "must be sent once").into()),
            (false, false) => Err(Invalid::new("hello", "must be the first message").into()),
            _ => Ok(()),
        }
    }

    fn with_work(&mut self, ticket: Ticket, change: impl FnOnce(&mut Work)) {
        let stream = self.streams.get_mut(&ticket);
        if let Some(work) = stream.and_then(|stream| stream.work.as_mut()) {
            change(work);
        }
    }

    fn hello(
        &mut self,
        ticket: Ticket,
        principal: &Arc<Principal>,
        (worker, offer, duration_ms): (Arc<str>, OfferSpec, u64),
        held: &[Held],
    ) {
        let offer = self.engine.acquire_offer(offer);
        self.with_work(ticket, |work| {
            work.hello = Some(Hello {
                worker,
                offer,
                duration_ms,
            });
        });
        self.engine.stream_frame(ticket, self.now);
        let known = Known::default();
        let speaker = Speaker {
            principal,
            known: &known,
        };
        let mut kept: Vec<(ExecutionId, LeaseToken)> = Vec::new();
        for one in held {
            let duration = Some(duration_ms);
            let renewed = self
                .engine
                .renew(one, duration, Some(ticket), speaker, self.now);
            kept.extend(
                one.token
                    .filter(|_| renewed.is_ok())
                    .map(|token| (one.id, token)),
            );
        }
        self.absorb_timers();
        let version = self.settings.server_version;
        self.send_message(ticket, reply::work_welcome(&kept, duration_ms, version));
        // A cancel may have been asked for while the worker was away.
        for (id, token) in kept {
            if self.engine.state().is_cancel_requested(id.birth) {
                self.send_message(ticket, reply::work_cancels(&[(id, token)]));
            }
        }
        if self.draining {
            self.send_message(ticket, reply::work_drain());
        }
    }

    fn credit(&mut self, ticket: Ticket, executions: u32, bytes: Option<u64>) {
        self.with_work(ticket, |work| {
            work.credit = work.credit.saturating_add(u64::from(executions));
            work.credit_bytes =
                bytes.map(|more| work.credit_bytes.unwrap_or(0).saturating_add(more));
        });
        self.line_up_stream(ticket);
    }

    /// Puts a stream that can take leases into its offer's line.
    pub(super) fn line_up_stream(&mut self, ticket: Ticket) {
        if let Some((taker, ..)) = self.room_on_stream(ticket) {
            self.takers.line_up(taker.offer, ticket);
        }
    }

    /// How much a stream can take now: executions and bytes; `None` for nothing.
    pub(super) fn room_on_stream(&self, ticket: Ticket) -> Option<(Taker, usize, u64)> {
        let stream = self.streams.get(&ticket)?;
        let work = stream.work.as_ref()?;
        let hello = work.hello.as_ref()?;
        let bytes = work.credit_bytes.unwrap_or(u64::MAX);
        if stream.is_full() || work.draining || work.credit == 0 || bytes == 0 {
            return None;
        }
        let taker = Taker {
            worker: hello.worker.clone(),
            offer: hello.offer,
            duration_ms: hello.duration_ms,
            stream: Some(ticket),
        };
        Some((
            taker,
            usize::try_from(work.credit).unwrap_or(usize::MAX),
            bytes,
        ))
    }

    pub(super) fn spend_credit(&mut self, ticket: Ticket, granted: &[Granted]) {
        let bytes = lease_bytes(granted) as u64;
        self.with_work(ticket, |work| {
            work.credit = work.credit.saturating_sub(granted.len() as u64);
            work.credit_bytes = work.credit_bytes.map(|left| left.saturating_sub(bytes));
        });
    }

    pub(super) fn work_report(
        &mut self,
        ticket: Ticket,
        principal: &Arc<Principal>,
        items: &[Result<(Held, Report), ApiError>],
        known: &Known,
    ) {
        let outcomes = self.settle(principal, items, known);
        self.send_message(ticket, reply::work_outcomes(&outcomes));
        self.frame_done(ticket);
        self.unblocked.push(ticket);
    }

    /// Tells streams what befell their leases.
    pub(super) fn tell_streams(&mut self) {
        let mut cancels: BTreeMap<Ticket, Vec<_>> = BTreeMap::new();
        let mut lost: BTreeMap<Ticket, Vec<_>> = BTreeMap::new();
        for Told {
            stream,
            id,
            token,
            notice,
        } in self.engine.take_told()
        {
            let told = if notice == Notice::Cancel {
                &mut cancels
            } else {
                &mut lost
            };
            told.entry(stream).or_default().push((id, token));
        }
        for (ticket, leases) in cancels {
            self.send_message(ticket, reply::work_cancels(&leases));
        }
        for (ticket, leases) in lost {
            self.send_message(ticket, reply::work_lost(&leases));
        }
    }

    /// A Work stream is gone: its leases wait a grace for the worker.
    pub(super) fn work_ended(&mut self, ticket: Ticket, work: Work) {
        if let Some(hello) = work.hello {
            self.takers.leave(hello.offer, ticket);
            self.engine.release_offer(hello.offer);
        }
        self.engine.stream_ended(ticket, self.now);
    }

    /// Tells every worker that the server is about to stop.
    pub(super) fn drain_streams(&mut self) {
        let greeted = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.work.is_some());
        for ticket in greeted.map(|(ticket, _)| *ticket).collect::<Vec<_>>() {
            self.send_message(ticket, reply::work_drain());
        }
    }
}
