//! Progress: how far an execution has come, as its worker says.
//!
//! Owns the check of the lease. Refuses to log anything: a restart forgets all progress.

use crate::command::{Held, ProgressReport};
use crate::decide::Speaker;
use crate::engine::Engine;
use crate::error::Refusal;
use crate::reply::Settled;
use crate::rules::id::Birth;
use crate::rules::status::Status;
use crate::time::Now;

impl Engine {
    /// Takes a worker's report about its progress. The report shows that the attempt has begun; it
    /// does not renew the lease.
    ///
    /// # Errors
    /// [`Refusal::LeaseLost`] for a token that is not the live one;
    /// [`Refusal::ExecutionNotFound`]. Then nothing has changed.
    pub fn report_progress(
        &mut self,
        held: &Held,
        report: ProgressReport,
        speaker: Speaker<'_>,
        now: Now,
    ) -> Result<Settled, Refusal> {
        self.catch_up_visible(held, speaker, now);
        self.live_lease(held, speaker, None)?;
        self.acknowledge(held, now);
        let birth = held.id.birth;
        self.soft.advances.report(birth, report, now);
        Ok(Settled {
            cancel_requested: self.state.is_cancel_requested(birth),
            ..Settled::at(Status::Running)
        })
    }

    /// The progress that the record of an execution shows.
    #[must_use]
    pub fn progress(&self, birth: Birth, now: Now) -> Option<&ProgressReport> {
        self.soft.advances.shown(birth, now)
    }
}
