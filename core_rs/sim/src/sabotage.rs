//! Sabotage: mistakes made on purpose, to prove that the checker sees them.
//!
//! Owns what each mistake does to a commit on its way to the store. Refuses to be subtle.

use backlane_store::{Change, Commit, ENDING, PAYLOAD};

/// A mistake that a driver or a store could make, to prove that the checker sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sabotage {
    /// None.
    #[default]
    None,
    /// Says that a commit is durable before it is.
    AcknowledgeEarly,
    /// A store that keeps the newest commit in memory and says it is durable.
    LoseTail,
    /// A store that changes what executions are made with.
    ChangePayload,
    /// A store that drops how executions ended.
    DropEnding,
}

impl Sabotage {
    /// What is written instead of a commit, if anything is.
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
