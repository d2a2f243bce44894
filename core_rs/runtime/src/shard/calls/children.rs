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

use crate::message::{Found, ListQuery, Query, Ticket};
use crate::shard::desk::Desk;
use crate::shard::page::Records;
use crate::shard::room::Room;
use crate::shard::show::{self, Fetch, PAGE_LOOKS, Shown, damaged};

/// Answers a list of the children of `parent`.
pub(super) fn list(room: &mut Room, ticket: Ticket, list: List, parent: ExecutionId) {
    let next_birth = room.desk.engine.state().next_birth();
    let before = list.before.unwrap_or(next_birth);
    let (living, stopped_at) = living(&room.desk, &list, parent.birth, before);
    let shown = living
        .into_iter()
        .map(|birth| Shown::now(&room.desk, birth));
    let page = Page {
        shown: shown.collect(),
        covered: stopped_at.map_or(0, |birth| birth + 1),
        list,
        parent,
    };
    let list = &page.list;
    let wanted = list.status.is_none_or(Status::is_finished);
    let finished = wanted.then(|| ListQuery {
        family: &ENDING,
        tenant: (*list.tenant).into(),
        status: list.status,
        before,
        limit: list.page_size,
        part: show::part_of(list.view),
    });
    let query = Query {
        list: finished,
        ..Query::default()
    };
    if query.is_empty() {
        return page.answer(room, ticket);
    }
    let then = move |room: &mut Room, found: Found| match &found.list_damage {
        Some(damage) => {
            let error = damaged("the list", &damage.to_string());
            room.desk.refuse(ticket, &error);
        }
        None => page.with(&found).answer(room, ticket),
    };
    room.read(query, true, Box::new(then));
}

/// The unfinished children below a birth number, newest first, and the execution at which the look
/// at the descendants stopped early.
fn living(desk: &Desk, list: &List, parent: Birth, before: Birth) -> (Vec<Birth>, Option<Birth>) {
    let state = desk.engine.state();
    let families = state.families();
    let fits = |birth: Birth| {
        let slot = state.slot(birth);
        let is_own = families.ancestors(birth).first() == Some(&parent);
        let status = slot.map(|slot| slot.phase.status());
        let is_asked = list.status.is_none() || list.status == status;
        is_own && is_asked && slot.is_some_and(|slot| **state.tenant_name(slot) == *list.tenant)
    };
    let mut children = Vec::new();
    let descendants = families.descendants_before(parent, before);
    for (looks, birth) in descendants.enumerate() {
        if children.len() == list.page_size {
            break;
        }
        if looks == PAGE_LOOKS {
            return (children, Some(birth));
        }
        if fits(birth) {
            children.push(birth);
        }
    }
    (children, None)
}

/// A page that is put together.
struct Page {
    list: List,
    parent: ExecutionId,
    shown: Vec<Shown>,
    /// The page covers the birth numbers down to this one. Below, executions may be missing.
    covered: Birth,
}

impl Page {
    /// Adds the finished executions that were found.
    fn with(mut self, found: &Found) -> Self {
        if found.list_is_cut || found.listed.len() >= self.list.page_size {
            let oldest = found.listed.last().copied();
            self.covered = self.covered.max(oldest.unwrap_or(0));
        }
        show::add_listed(&mut self.shown, &found.listed);
        for one in &mut self.shown {
            one.fill(found);
        }
        self
    }

    fn answer(mut self, room: &mut Room, ticket: Ticket) {
        let fetch = Fetch {
            shown: std::mem::take(&mut self.shown),
            view: self.list.view,
            list: None,
        };
        show::fetch(room, fetch, move |room, shown| match shown {
            Ok(shown) => self.send(room, ticket, shown),
            Err(error) => room.desk.refuse(ticket, &error),
        });
    }

    /// Whether an execution is a child. One whose payload cannot be read is known by its family.
    fn is_child(&self, one: &Shown) -> bool {
        one.parent()
            .map_or(one.living.is_some(), |parent| parent == self.parent)
    }

    fn send(&self, room: &mut Room, ticket: Ticket, mut shown: Vec<Shown>) {
        let list = &self.list;
        shown.sort_unstable_by_key(|shown| std::cmp::Reverse(shown.birth));
        let mut covered = self.covered;
        let mut records = Records::default();
        for one in shown.iter().filter(|one| one.birth >= covered) {
            if !self.is_child(one) {
                continue;
            }
            let Some(record) = show::listed(&mut room.desk, one, list.view) else {
                continue;
            };
            if !records.add(record) {
                covered = one.birth + 1;
                break;
            }
            if records.all.len() == list.page_size {
                covered = one.birth;
                break;
            }
        }
        let next = (covered > self.parent.birth).then_some(covered);
        let next = next.map(|after| page_token(&list.scope(), list.status, after));
        room.desk
            .reply(ticket, reply::list_response(&records.all, next.as_deref()));
    }
}
