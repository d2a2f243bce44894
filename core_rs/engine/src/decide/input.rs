//! Inputs: what clients provide to executions that wait, or will wait.
//!
//! Owns whether an input ends a wait, is kept, or is refused. Refuses to know what an input means.

use crate::command::{Control, Known, NewInput};
use crate::engine::{Decision, Engine};
use crate::error::Refusal;
use crate::fact::{RunChange, Wait, WakeCause};
use crate::reply::Made;
use crate::row::ActionContents;
use crate::rules::limits::MAX_KEPT_INPUTS;
use crate::time::Now;

use super::run::{may_record, room_for, run_changes, woken};

impl Engine {
    /// Provides an input. It ends the wait for its key, or is kept for that wait.
    ///
    /// # Errors
    /// [`Refusal::TransitionNotAllowed`] where the execution has finished,
    /// [`Refusal::EndDecided`], [`Refusal::InputExists`], [`Refusal::RunTooLarge`],
    /// [`Refusal::RequestIdReused`], [`Refusal::ExecutionNotFound`],
    /// [`Refusal::DiskFull`] for an input that no wait takes yet; then nothing has changed.
    pub fn provide_input(
        &mut self,
        input: NewInput,
        known: &Known,
        now: Now,
    ) -> Result<Made, Refusal> {
        let birth = input.id.birth;
        if self.repeated(input.request.as_ref(), known)?.is_some() {
            let existing = true;
            return Ok(Made { birth, existing });
        }
        let control = Control {
            tenant: input.tenant.clone(),
            id: input.id,
            actor: input.actor.clone(),
        };
        self.undecided(&control, "given an input", known, now)?;
        let decision = self.input_decision(input.clone())?;
        self.commit(decision, now)?;
        if let Some(request) = &input.request {
            self.keep_request(request, input.actor, &[birth], now)?;
        }
        let existing = false;
        Ok(Made { birth, existing })
    }

    fn input_decision(&self, input: NewInput) -> Result<Decision, Refusal> {
        let (id, birth) = (input.id, input.id.birth);
        let run = self.state.run_of(birth);
        let bytes = u32::try_from(input.value.len()).unwrap_or(u32::MAX);
        room_for(&run, bytes, "value")?;
        may_record(&run, 2, "key")?;
        let waits = |wait: &&Wait| wait.key.as_deref() == Some(&*input.key);
        let step = run.active().find(waits).map(|wait| wait.step);
        if let Some(step) = step {
            let contents = ActionContents {
                body: Some(input.value),
                ..ActionContents::default()
            };
            let change = woken(vec![step], WakeCause::Input, bytes);
            return Ok(run_changes(input.actor, birth, change, vec![contents]));
        }
        if self.store_is_full {
            // Kept for later, it would only take room. An input that ends a wait is taken.
            return Err(Refusal::DiskFull);
        }
        if run.input(&input.key).is_some() {
            return Err(Refusal::InputExists {
                execution_id: id.to_string(),
                key: input.key.into(),
            });
        }
        if run.inputs.len() >= MAX_KEPT_INPUTS {
            return Err(Refusal::RunTooLarge {
                field: "key".into(),
                limit: MAX_KEPT_INPUTS as u64,
                unit: "inputs that no wait has taken",
            });
        }
        let contents = ActionContents {
            details: input.details,
            body: Some(input.value),
            ..ActionContents::default()
        };
        let change = RunChange::InputKept {
            key: input.key,
            bytes,
        };
        Ok(run_changes(input.actor, birth, change, vec![contents]))
    }
}
