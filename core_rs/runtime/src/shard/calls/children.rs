//! Lists of the children of one execution, newest first.
//!
//! Owns the pages of these lists. Unfinished children are known by their families. Finished ones
//! are found by a look through the finished executions of the tenant that are younger than the
//! parent, so a page may be short, even empty, and still have a next page. Refuses to decide
//! anything.

use backlane_engine::rules::id::{Birth, ExecutionId};
use backlane_engine::rules::status::Status;
use backlane_store::ENDING;
use backlane_wire::query::List;
use backlane_wire::{page_token, reply};

use crate::message::{ListQuery, Ticket};
use crate::shard::desk::Desk;
use crate::shard::room::Room;
use crate::shard::show::{self, Fetch, MAX_REPLY_BYTES, Shown};

/// Answers a list of the children of `parent`.
pub(super) fn list(room: &mut Room, ticket: Ticket, list: List, parent: ExecutionId) {
    let next_birth = room.desk.engine.state().next_birth();
    let before = list.before.unwrap_or(next_birth);
    let living = living(&room.desk, &list, parent.birth, before);
    let shown = living
        .into_iter()
        .map(|birth| Shown::now(&room.desk, birth));
    let wanted = list.status.is_none_or(Status::is_finished);
    let fetch = Fetch {
        shown: shown.collect(),
        view: list.view,
        list: wanted.then(|| ListQuery {
            family: &ENDING,
            tenant: (*list.tenant).into(),
            status: list.status,
            before,
            limit: list.page_size,
            part: show::part_of(list.view),
        }),
    };
    show::fetch(room, fetch, move |room, shown| match shown {
        Ok(shown) => send(room, ticket, shown, &list, parent),
        Err(error) => room.desk.refuse(ticket, &error),
    });
}

/// The unfinished children below a birth number, newest first.
fn living(desk: &Desk, list: &List, parent: Birth, before: Birth) -> Vec<Birth> {
    let state = desk.engine.state();
    let families = state.families();
    let all = families
        .descendants(parent, 0)
        .take_while(|birth| *birth < before);
    let fits = |birth: &Birth| {
        let slot = state.slot(*birth);
        let is_own = families.ancestors(*birth).first() == Some(&parent);
        let status = slot.map(|slot| slot.phase.status());
        let is_asked = list.status.is_none() || list.status == status;
        is_own && is_asked && slot.is_some_and(|slot| **state.tenant_name(slot) == *list.tenant)
    };
    let mut children: Vec<_> = all.filter(fits).collect();
    children.reverse();
    children.truncate(list.page_size);
    children
}

fn send(room: &mut Room, ticket: Ticket, mut shown: Vec<Shown>, list: &List, parent: ExecutionId) {
    shown.sort_unstable_by_key(|shown| std::cmp::Reverse(shown.birth));
    // The page covers the birth numbers down to this one: below it, finished executions may be
    // missing.
    let finished = shown.iter().filter(|one| one.living.is_none());
    let finished: Vec<_> = finished.map(|one| one.birth).collect();
    let full = finished.len() >= list.page_size;
    let mut covered = finished.last().copied().filter(|_| full).unwrap_or(0);
    let (mut total, mut records) = (0, Vec::new());
    for one in shown.iter().filter(|one| one.birth >= covered) {
        if one.living.is_none() && one.parent() != Some(parent) {
            continue;
        }
        let Some(record) = show::listed(&mut room.desk, one, list.view) else {
            continue;
        };
        total += record.len() + 8;
        if total > MAX_REPLY_BYTES && !records.is_empty() {
            covered = one.birth + 1;
            break;
        }
        records.push(record);
        if records.len() == list.page_size {
            covered = one.birth;
            break;
        }
    }
    let next = (covered > parent.birth).then_some(covered);
    let next = next.map(|after| page_token(&list.scope(), list.status, after));
    room.desk
        .reply(ticket, reply::list_response(&records, next.as_deref()));
}
