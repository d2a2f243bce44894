//! Run: what happened inside an execution.
//!
//! Owns which rows make a run: the recorded actions, the attempts, and the ending. Refuses to know
//! how they make it: the wire crate folds them.

use backlane_engine::command::{Known, Needs};
use backlane_engine::fact::{Living, Progress};
use backlane_engine::row::{AttemptRow, EndingRow};
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::status::Phase;
use backlane_store::{ATTEMPT, ENDING, Key, Part};
use backlane_wire::ApiError;
use backlane_wire::control::decode_get_run;
use backlane_wire::query::Named;
use backlane_wire::run::{RunShown, fold};

use crate::message::{Found, Query, RangeQuery, Ticket, Wanted};
use crate::shard::actions::{all_of, read_actions, read_attempts, recorded};
use crate::shard::desk::Desk;
use crate::shard::room::{Caller, Job, Room};
use crate::shard::show::MAX_REPLY_BYTES;

use super::look;

/// Prepares a `GetExecutionRun` call.
pub(crate) fn get(
    desk: &mut Desk,
    caller: &Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let named = desk.with_context(&caller.principal, |context| decode_get_run(bytes, context))?;
    let ticket = caller.ticket;
    Ok(Box::new(Looking { ticket, named }))
}

struct Looking {
    ticket: Ticket,
    named: Named,
}

impl Job for Looking {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        desk.engine.needs_for([&self.named.id], known)
    }

    fn decide(self: Box<Self>, room: &mut Room, known: &Known) {
        let (ticket, named) = (self.ticket, self.named);
        let birth = match look::find(&room.desk, &named.tenant, &named.id, known) {
            Ok(birth) => birth,
            Err(error) => return room.desk.refuse(ticket, &error),
        };
        let living = room.desk.engine.state().living(birth);
        let look = Look {
            recorded: living.is_some().then(|| recorded(&room.desk, birth)),
            birth,
            living,
        };
        // The store has what was just decided only once that is durable.
        let query = query(&look);
        let then = move |room: &mut Room, found: Found| {
            let desk = &mut room.desk;
            let ending = look::end_unless(look.living.as_ref(), desk, &named, &found);
            let run = ending.and_then(|ending| {
                let run = look.answer(&named, ending.as_ref(), found);
                run.map_err(|what| look::broken(desk, &named.id, &what))
            });
            match run {
                Ok(reply) => desk.reply(ticket, reply),
                Err(error) => desk.refuse(ticket, &error),
            }
        };
        room.read(query, true, Box::new(then));
    }
}

/// The execution as it was when the call was decided.
struct Look {
    birth: Birth,
    living: Option<Living>,
    /// Number of recorded actions; `None` where the execution has ended: all of them.
    recorded: Option<u32>,
}

fn query(look: &Look) -> Query {
    let attempts = RangeQuery {
        family: &ATTEMPT,
        number: look.birth,
        from: 1,
        limit: usize::from(u16::MAX),
    };
    let ending = Wanted {
        family: &ENDING,
        key: Key::Number(look.birth),
        part: Part::Whole,
    };
    Query {
        ranges: vec![all_of(look.birth), attempts],
        rows: look
            .living
            .is_none()
            .then_some(ending)
            .into_iter()
            .collect(),
        ..Query::default()
    }
}

impl Look {
    fn answer(
        &self,
        named: &Named,
        ending: Option<&EndingRow>,
        found: Found,
    ) -> Result<Vec<u8>, Box<str>> {
        let mut ranges = found.ranges.into_iter();
        let mut next = || ranges.next().unwrap_or(Ok(Vec::new()));
        let (actions, attempts) = (next(), next());
        let known = actions.as_ref().map_or(0, Vec::len);
        let recorded = self
            .recorded
            .unwrap_or(u32::try_from(known).unwrap_or(u32::MAX));
        let actions = read_actions(self.birth, actions, recorded)?;
        let mut attempts = read_attempts(self.birth, attempts)?;
        let living = self.living.as_ref().map(|living| &living.progress);
        let progress = living.or(ending.map(|ending| &ending.progress));
        let Some(progress) = progress else {
            return Err("its ending is missing".into());
        };
        // Leases may have ended since the call was decided.
        let live = u32::from(living.is_some_and(|progress| progress.holding.is_some()));
        attempts.retain(|attempt| attempt.ordinal + live <= progress.lease_ordinal());
        let story = fold(&actions, &attempts, progress.attempt);
        let mut story = story.map_err(|broken| Box::from(broken.to_string()))?;
        let ends_at_ms = living.filter(|progress| progress.phase == Phase::Ending);
        let ends_at_ms = ends_at_ms.map(|progress| progress.updated_at_ms);
        if let Some(at_ms) = ends_at_ms {
            // Earlier program versions wrote no row of an attempt that ended with the decision.
            story.lease_ended(at_ms);
        }
        if let Some(ending) = ending {
            story.ended(ending);
        }
        Ok(story.response(&RunShown {
            id: &named.id.to_string(),
            tenant: &named.tenant,
            is_paused: living.is_some_and(|progress| progress.is_paused),
            awaits_children: ends_at_ms.is_some(),
            started_at_ms: started_at_ms(&attempts, progress),
            ending,
            most_bytes: MAX_REPLY_BYTES,
        }))
    }
}

/// Begin of the first lease. Only the newest attempts are kept: after more of them, the begin of
/// the oldest one.
fn started_at_ms(attempts: &[AttemptRow], progress: &Progress) -> Option<u64> {
    let oldest = attempts.first().map(|attempt| attempt.started_at_ms);
    oldest.or(progress.started_at_ms)
}
