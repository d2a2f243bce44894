//! The journal: the commit that is being filled, and the outputs that wait for it.
//!
//! Owns the rule that no reply leaves before the facts it depends on are durable. Refuses to know
//! the contents of facts and replies, except for the remaining times that it counts down when a
//! reply leaves. One commit is in progress at a time; later facts go into the next. Owns also the
//! bound on a commit: a commit that is heavy takes no further decisions.

use std::collections::VecDeque;

use backlane_store::{Commit, Row};
use backlane_wire::reply::Countdown;

use crate::message::{CompletionKind, Output};

/// Weight from which a commit takes no further decisions. So a commit weighs at most this and what
/// one request can bring, which the store's reserve has room for.
const COMMIT_BYTES: u64 = 16 << 20;

/// A commit that waits for the one in progress.
#[derive(Debug)]
struct Filled {
    commit: Commit,
    weight: u64,
    request_mark: usize,
}

/// What is remembered of the commit in progress.
#[derive(Debug)]
struct InFlight {
    weight: u64,
    request_mark: usize,
}

#[derive(Debug)]
pub(super) struct Journal {
    /// The commit that is being filled.
    pub(super) pending: Commit,
    /// The weight of the rows in the pending commit.
    rows_weight: u64,
    /// Commits that are heavy enough, oldest first.
    filled: VecDeque<Filled>,
    /// The weight of the commit in progress and of all filled ones.
    waiting_weight: u64,
    next_sequence: u64,
    durable: u64,
    in_flight: Option<InFlight>,
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
            rows_weight: 0,
            filled: VecDeque::new(),
            waiting_weight: 0,
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

    /// Number of facts that are decided and not handed over to the store.
    pub(super) fn waiting_facts(&self) -> usize {
        let filled = self.filled.iter().map(|filled| filled.commit.count);
        (filled.sum::<u32>() + self.pending.count) as usize
    }

    /// Adds a row of the newest fact.
    pub(super) fn add_row(&mut self, row: Row) {
        self.rows_weight += row.weight();
        self.pending.rows.push(row);
    }

    /// The weight of everything that is decided and not durable.
    pub(super) fn unwritten(&self) -> u64 {
        self.waiting_weight + self.pending_weight()
    }

    fn pending_weight(&self) -> u64 {
        self.rows_weight + self.pending.frame.len() as u64
    }

    /// Closes the pending commit if it is heavy. Must be called between decisions, so that no
    /// decision is torn apart. `request_mark` covers the request ids that are in memory now.
    pub(super) fn close_if_heavy(&mut self, request_mark: usize) {
        if self.pending_weight() >= COMMIT_BYTES {
            self.close(request_mark);
        }
    }

    fn close(&mut self, request_mark: usize) {
        let weight = self.pending_weight();
        let mut commit = std::mem::take(&mut self.pending);
        commit.first_sequence = self.next_sequence - u64::from(commit.count);
        self.rows_weight = 0;
        self.waiting_weight += weight;
        self.filled.push_back(Filled {
            commit,
            weight,
            request_mark,
        });
    }

    /// Takes the oldest commit that is not durable, if it has facts and no commit is in progress.
    /// `request_mark` covers the request ids that are in memory now.
    pub(super) fn seal(&mut self, request_mark: usize) -> Option<Commit> {
        if self.in_flight.is_some() {
            return None;
        }
        if self.filled.is_empty() && self.pending.count > 0 {
            self.close(request_mark);
        }
        let Filled {
            commit,
            weight,
            request_mark,
        } = self.filled.pop_front()?;
        self.in_flight = Some(InFlight {
            weight,
            request_mark,
        });
        Some(commit)
    }

    /// Whether no fact and no output waits to become durable.
    pub(super) fn is_empty(&self) -> bool {
        let no_facts = self.in_flight.is_none() && self.filled.is_empty();
        no_facts && self.pending.count == 0 && self.parked.is_empty()
    }

    /// Notes that the commit in progress is durable. Returns its request mark.
    pub(super) fn committed(&mut self, durable: u64) -> Option<usize> {
        self.durable = self.durable.max(durable);
        let InFlight {
            weight,
            request_mark,
        } = self.in_flight.take()?;
        self.waiting_weight -= weight;
        Some(request_mark)
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
    fn decide(journal: &mut Journal, bytes: u64) {
        journal
            .pending
            .frame
            .extend(vec![0; usize::try_from(bytes).unwrap()]);
        journal.count_fact();
        journal.close_if_heavy(usize::try_from(journal.next_sequence()).unwrap());
    }

    /// First sequence number and number of facts of the next commit.
    fn sealed(journal: &mut Journal) -> Option<(u64, u32)> {
        let commit = journal.seal(0)?;
        Some((commit.first_sequence, commit.count))
    }

    #[test]
    fn a_heavy_commit_takes_no_further_decisions() {
        let mut journal = Journal::new(1);
        for bytes in [COMMIT_BYTES - 1, 1, 7, COMMIT_BYTES, 3] {
            decide(&mut journal, bytes);
        }
        let mut commits = Vec::new();
        while let Some(commit) = sealed(&mut journal) {
            commits.push((commit, journal.unwritten()));
            journal.committed(commit.0 + u64::from(commit.1));
        }
        let whole = 2 * COMMIT_BYTES + 10;
        let expected = vec![((1, 2), whole), ((3, 2), whole - COMMIT_BYTES), ((5, 1), 3)];
        assert_eq!(expected, commits);
        assert_eq!((0, true), (journal.unwritten(), journal.is_empty()));
    }

    #[test]
    fn a_commit_that_waits_covers_the_request_ids_that_came_before_it() {
        let mut journal = Journal::new(1);
        decide(&mut journal, COMMIT_BYTES);
        decide(&mut journal, COMMIT_BYTES);
        journal.seal(9);
        assert_eq!(Some(2), journal.committed(2));
        journal.seal(9);
        assert_eq!(Some(3), journal.committed(3));
    }

    #[test]
    fn many_rows_make_a_commit_heavy() {
        let mut journal = Journal::new(1);
        let row = || Row {
            family: &backlane_store::ATTEMPT,
            key: backlane_store::Key::Ordinal(1, 1),
            change: backlane_store::Change::Delete,
        };
        let mut rows = 0;
        while sealed(&mut journal).is_none() {
            journal.add_row(row());
            journal.close_if_heavy(0);
            rows += 1;
        }
        assert_eq!(COMMIT_BYTES / row().weight(), rows);
    }
}
