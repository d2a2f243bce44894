//! The network: delays, losses and the order of messages.
//!
//! Owns the messages between clients and the server. Refuses to know their contents.

use std::collections::VecDeque;
use std::sync::Arc;

use backlane_runtime::{Completion, CompletionKind, Input, Method, Principal, Ticket, UnaryCall};

use crate::asked::Asked;
use crate::judge::WorkAsked;
use crate::world::{Call, Packet, Stream, World};

impl World {
    /// Sends a completion to a client. The loss of a reply looks like a caller that is gone.
    pub(crate) fn send_down(&mut self, completion: Completion) {
        let ticket = completion.ticket;
        let delay = 1 + self.dice.below(self.plan.delay + 1);
        let mut due = self.step + delay;
        if let Some(stream) = self.streams.get_mut(&ticket) {
            due = due.max(stream.last_down);
            stream.last_down = due;
        } else if self.dice.chance(self.plan.drop) {
            self.calls.remove(&ticket);
            return self.up_at(due, Input::Abandon(ticket));
        }
        self.sent += 1;
        self.packets
            .insert((due, self.sent), Packet::Down(completion));
    }

    pub(crate) fn deliver(&mut self, completion: Completion) {
        let Completion { ticket, kind } = completion;
        let size = match &kind {
            CompletionKind::Reply(bytes) | CompletionKind::Message(bytes) => bytes.len(),
            _ => 0,
        };
        if let Some(call) = self.calls.remove(&ticket) {
            self.up_at(self.step + 1, Input::Written(ticket, size));
            if let CompletionKind::Reply(bytes) = &kind {
                self.heard(&call, bytes);
            }
            return;
        }
        let open = self.streams.get(&ticket).is_some_and(|stream| stream.open);
        match kind {
            CompletionKind::Message(bytes) if open => {
                self.up_at(self.step + 1, Input::Written(ticket, size));
                self.heard_on_stream(ticket, &bytes);
            }
            CompletionKind::End | CompletionKind::Error { .. } => self.stream_over(ticket),
            _ => {}
        }
    }

    pub(crate) fn stream_over(&mut self, ticket: Ticket) {
        let Some(stream) = self.streams.get_mut(&ticket) else {
            return;
        };
        stream.open = false;
        if let Some((worker, _)) = &stream.work {
            let worker = &mut self.workers[*worker];
            worker.stream = worker.stream.filter(|own| *own != ticket);
        }
    }

    pub(crate) fn up_at(&mut self, due: u64, input: Input) {
        self.sent += 1;
        self.packets.insert((due, self.sent), Packet::Up(input));
    }

    /// Sends an input that belongs to no call.
    pub(crate) fn send_to_server(&mut self, input: Input) {
        self.up_at(self.step + 1, input);
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        self.last_ticket
    }

    /// Sends a unary call for a tenant, or for every tenant.
    pub(crate) fn call(
        &mut self,
        asked: Asked,
        principal: Principal,
        worker: Option<usize>,
    ) -> Ticket {
        self.call_as(asked, principal, worker, false)
    }

    pub(crate) fn call_as(
        &mut self,
        asked: Asked,
        principal: Principal,
        worker: Option<usize>,
        intruder: bool,
    ) -> Ticket {
        let ticket = self.ticket();
        let (method, bytes) = asked.encode();
        let sent_step = self.step;
        let due = self.step + 1 + self.dice.below(self.plan.delay + 1);
        let lost = self.dice.chance(self.plan.drop);
        let call = Call {
            asked,
            intruder,
            worker,
            sent_step,
            lost,
            answered: false,
        };
        self.calls.insert(ticket, call);
        if !lost {
            let principal = Arc::new(principal);
            let timeout_ms = self.dice.chance(200).then(|| self.dice.between(1, 60_000));
            self.up_at(
                due,
                Input::Call(UnaryCall {
                    ticket,
                    method,
                    principal,
                    timeout_ms,
                    bytes,
                }),
            );
        }
        ticket
    }

    pub(crate) fn open(&mut self, method: Method, work: Option<(usize, WorkAsked)>) -> Ticket {
        let ticket = self.ticket();
        let (last_up, last_down) = (self.step + 1, self.step + 1);
        let enqueues = VecDeque::new();
        let stream = Stream {
            open: true,
            enqueues,
            work,
            last_up,
            last_down,
        };
        self.streams.insert(ticket, stream);
        let principal = Arc::new(Principal::default());
        self.on_stream(
            ticket,
            Input::Open {
                ticket,
                method,
                principal,
            },
        );
        ticket
    }

    /// Sends a message on a stream, in the stream's order.
    pub(crate) fn on_stream(&mut self, ticket: Ticket, input: Input) {
        let delay = 1 + self.dice.below(self.plan.delay + 1);
        let Some(stream) = self.streams.get_mut(&ticket) else {
            return;
        };
        let due = stream.last_up.max(self.step + delay);
        stream.last_up = due;
        self.up_at(due, input);
    }
}
