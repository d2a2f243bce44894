//! The journal: the commit that is being filled, and the outputs that wait for it.
//!
//! Owns the rule that no reply leaves before the facts it depends on are durable. Refuses to know
//! the contents of facts and replies, except for the remaining times that it counts down when a
//! reply leaves. One commit is in progress at a time; later facts go into the next.

use std::collections::VecDeque;

use backlane_store::Commit;
use backlane_wire::reply::Countdown;

use crate::message::{CompletionKind, Output};

#[derive(Debug)]
pub(super) struct Journal {
    /// The commit that is being filled.
    pub(super) pending: Commit,
    next_sequence: u64,
    durable: u64,
    in_flight: Option<usize>,
    parked: VecDeque<Parked>,
}

/// An output that waits until the facts it rests on are durable.
#[derive(Debug)]
struct Parked {
    /// All facts with a lower sequence number must be durable.
    rests_on: u64,
    output: Output,
    countdowns: Vec<Countdown>,
}

impl Parked {
    /// The output as it leaves at a time, in monotonic milliseconds.
    fn leave(mut self, mono_ms: u64) -> Output {
        if let Output::Complete(completion) = &mut self.output
            && let CompletionKind::Reply(bytes) | CompletionKind::Message(bytes) =
                &mut completion.kind
        {
            for countdown in &self.countdowns {
                countdown.count(bytes, mono_ms);
            }
        }
        self.output
    }
}

impl Journal {
    pub(super) fn new(next_sequence: u64) -> Self {
        Self {
            pending: Commit::default(),
            next_sequence,
            durable: next_sequence,
            in_flight: None,
            parked: VecDeque::new(),
        }
    }

    /// Sequence number of the next fact.
    pub(super) const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// All facts with a lower sequence number are durable.
    pub(super) const fn durable(&self) -> u64 {
        self.durable
    }

    /// Counts a fact that was added to the pending commit.
    pub(super) const fn count_fact(&mut self) {
        self.pending.count += 1;
        self.next_sequence += 1;
    }

    /// Holds an output back until all facts so far are durable.
    pub(super) fn park(&mut self, output: Output) {
        self.park_timed(output, Vec::new());
    }

    /// Holds a reply with remaining times back.
    pub(super) fn park_timed(&mut self, output: Output, countdowns: Vec<Countdown>) {
        self.parked.push_back(Parked {
            rests_on: self.next_sequence,
            output,
            countdowns,
        });
    }

    /// Releases the outputs whose facts are durable, in the order in which they were held back.
    /// `mono_ms` is the time now, in monotonic milliseconds.
    pub(super) fn release(&mut self, out: &mut Vec<Output>, mono_ms: u64) {
        while self
            .parked
            .front()
            .is_some_and(|parked| parked.rests_on <= self.durable)
        {
            let parked = self.parked.pop_front();
            out.extend(parked.map(|parked| parked.leave(mono_ms)));
        }
    }

    /// Takes the pending commit, if it has facts and no commit is in progress. `request_mark`
    /// covers the request ids that are in memory now.
    pub(super) fn seal(&mut self, request_mark: usize) -> Option<Commit> {
        if self.in_flight.is_some() || self.pending.count == 0 {
            return None;
        }
        self.in_flight = Some(request_mark);
        let mut commit = std::mem::take(&mut self.pending);
        commit.first_sequence = self.next_sequence - u64::from(commit.count);
        Some(commit)
    }

    /// Whether no fact and no output waits to become durable.
    pub(super) fn is_empty(&self) -> bool {
        self.in_flight.is_none() && self.pending.count == 0 && self.parked.is_empty()
    }

    /// Notes that the commit in progress is durable. Returns its request mark.
    pub(super) fn committed(&mut self, durable: u64) -> Option<usize> {
        self.durable = self.durable.max(durable);
        self.in_flight.take()
    }
}

#[cfg(test)]
mod tests {
    use backlane_store::Maintenance;

    use super::*;

    fn anything() -> Output {
        Output::Maintain(Maintenance::default())
    }

    fn released(journal: &mut Journal) -> usize {
        let mut out = Vec::new();
        journal.release(&mut out, 0);
        out.len()
    }

    #[test]
    fn an_output_is_released_once_the_facts_before_it_are_durable() {
        let mut journal = Journal::new(1);
        journal.park(anything());
        assert_eq!(1, released(&mut journal));
        journal.count_fact();
        journal.park(anything());
        assert_eq!(0, released(&mut journal));
        let commit = journal
            .seal(0)
            .map(|commit| (commit.first_sequence, commit.count));
        assert_eq!(Some((1, 1)), commit);
        assert_eq!(0, released(&mut journal));
        journal.committed(2);
        assert_eq!(1, released(&mut journal));
    }

    #[test]
    fn facts_decided_during_a_commit_form_the_next_commit() {
        let mut journal = Journal::new(5);
        journal.count_fact();
        assert!(journal.seal(0).is_some());
        journal.count_fact();
        journal.count_fact();
        assert!(journal.seal(0).is_none());
        journal.committed(6);
        let commit = journal
            .seal(0)
            .map(|commit| (commit.first_sequence, commit.count));
        assert_eq!(Some((6, 2)), commit);
    }
}
