//! Sabotage: deliberate mistakes, to prove that the checker notices them.
//!
//! Owns the effect of each mistake on a commit. Refuses to hide a mistake well.

use backlane_store::{Change, Commit, ENDING, PAYLOAD};

/// A mistake of a driver or a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sabotage {
    /// No mistake.
    #[default]
    None,
    /// The driver says that a commit is durable before it is.
    AcknowledgeEarly,
    /// The store keeps the newest commit in memory and says that it is durable.
    LoseTail,
    /// The store changes the payloads of executions.
    ChangePayload,
    /// The store drops the endings of executions.
    DropEnding,
}

impl Sabotage {
    /// The commit to write instead of this one; `None` to write nothing.
    pub(crate) fn spoil(self, commit: &Commit, held_back: &mut Option<Commit>) -> Option<Commit> {
        match self {
            Self::LoseTail => held_back.replace(commit.clone()),
            Self::ChangePayload => Some(changed(commit)),
            Self::DropEnding => {
                let mut commit = commit.clone();
                commit.rows.retain(|row| row.family != &ENDING);
                Some(commit)
            }
            Self::None | Self::AcknowledgeEarly => Some(commit.clone()),
        }
    }
}

fn changed(commit: &Commit) -> Commit {
    let mut commit = commit.clone();
    for row in &mut commit.rows {
        let Change::Put(put) = &mut row.change else {
            continue;
        };
        let Some(body) = put.body.as_mut().filter(|_| row.family == &PAYLOAD) else {
            continue;
        };
        let mut changed = body.to_vec();
        if let Some(at) = changed.windows(6).position(|word| word == b"input ") {
            changed[at] = b'I';
        }
        *body = changed.into();
    }
    commit
}
