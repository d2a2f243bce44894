//! Lists with a filter, and counts.
//!
//! Owns the pages of these lists, and the count. Refuses to know how executions are looked through.

use backlane_engine::command::Known;
use backlane_engine::rules::id::Birth;
use backlane_wire::filter::Filter;
use backlane_wire::query::{Count, List, decode_count};
use backlane_wire::{ApiError, View, page_token, reply};

use crate::message::Ticket;
use crate::shard::desk::Desk;
use crate::shard::page::Records;
use crate::shard::room::{Caller, Job, Room};
use crate::shard::show::{self, Fetch, Shown};
use crate::shard::walk::{Kept, Slice, Walk, hidden};

/// Most slices of a walk that one page takes. A page that stops there may be shorter and still have
/// a next page.
const PAGE_SLICES: usize = 64;
/// Number of records that are read together, so that a page of large records needs little memory.
const BASIC_STEP: usize = 256;
const FULL_STEP: usize = 8;

/// Answers a list with a filter.
pub(super) fn list(room: &mut Room, ticket: Ticket, mut list: List) {
    let filter = list.filter.as_deref().cloned();
    let mut filter = filter.unwrap_or_else(Filter::everything);
    if let Some(status) = list.status {
        filter = filter.and_status(status);
    }
    if let Some(parent) = &list.parent {
        filter = filter.and_parent(parent);
    }
    let newest = room.desk.engine.state().next_birth();
    let before = list.before.take().unwrap_or(newest);
    let walk = Walk::below(before, ticket, list.tenant.clone(), filter);
    collect(room, walk, list, Vec::new());
}

/// Walks until a page is full.
fn collect(room: &mut Room, walk: Walk, list: List, mut kept: Vec<Kept>) {
    let then = move |room: &mut Room, walk: Walk, slice: Slice| {
        for (birth, what) in slice.unknown {
            room.desk
                .notice(format!("execution number {birth}: {what}"));
        }
        kept.extend(slice.kept);
        let is_full = kept.len() >= list.page_size || walk.slices == PAGE_SLICES;
        if is_full || walk.is_over() {
            Page::of(&room.desk, &walk, list, kept).go_on(room);
        } else {
            collect(room, walk, list, kept);
        }
    };
    walk.step(room, Box::new(then));
}

/// A page whose executions are known.
struct Page {
    ticket: Ticket,
    list: List,
    /// The executions that are still to be shown, the oldest first.
    left: Vec<Shown>,
    records: Records,
    /// The next page begins below this execution; `None` if there is no next page.
    after: Option<Birth>,
}

impl Page {
    fn of(desk: &Desk, walk: &Walk, list: List, mut kept: Vec<Kept>) -> Self {
        let mut after = Some(walk.covered).filter(|_| !walk.is_over());
        if kept.len() > list.page_size {
            kept.truncate(list.page_size);
            after = kept.last().map(|one| one.birth);
        }
        let shown = |one: Kept| Shown::standing(desk, one.birth, one.living);
        Self {
            ticket: walk.ticket,
            left: kept.into_iter().rev().map(shown).collect(),
            list,
            records: Records::default(),
            after,
        }
    }

    /// Reads and adds the next records, until none is left or the page is full.
    fn go_on(mut self, room: &mut Room) {
        if self.left.is_empty() {
            return self.send(&mut room.desk);
        }
        let step = match self.list.view {
            View::Basic => BASIC_STEP,
            View::Full => FULL_STEP,
        };
        let next = self.left.split_off(self.left.len().saturating_sub(step));
        let fetch = Fetch {
            shown: next,
            view: self.list.view,
            list: None,
        };
        show::fetch(room, fetch, move |room, shown| match shown {
            Ok(shown) => {
                self.add(&mut room.desk, shown);
                self.go_on(room);
            }
            Err(error) => room.desk.refuse(self.ticket, &error),
        });
    }

    fn add(&mut self, desk: &mut Desk, shown: Vec<Shown>) {
        let mut last = None;
        for one in shown.into_iter().rev() {
            let Some(record) = show::listed(desk, &one, self.list.view) else {
                continue;
            };
            if !self.records.add(record) {
                // The execution itself, and all older ones, come with the next page.
                self.after = last.or(Some(one.birth + 1));
                self.left.clear();
                return;
            }
            last = Some(one.birth);
        }
    }

    fn send(self, desk: &mut Desk) {
        let token = |after| page_token(&self.list.scope(), self.list.status, after);
        let next = self.after.map(token);
        let bytes = reply::list_response(&self.records.all, next.as_deref());
        desk.reply(self.ticket, bytes);
    }
}

/// Prepares a `Count` call.
pub(crate) fn count(
    desk: &mut Desk,
    caller: &Caller,
    bytes: &[u8],
) -> Result<Box<dyn Job>, ApiError> {
    let count = desk.with_context(&caller.principal, |context| decode_count(bytes, context))?;
    let ticket = caller.ticket;
    Ok(Box::new(Counting { ticket, count }))
}

struct Counting {
    ticket: Ticket,
    count: Count,
}

impl Job for Counting {
    fn decide(self: Box<Self>, room: &mut Room, _known: &Known) {
        let Count { tenant, filter } = self.count;
        let newest = room.desk.engine.state().next_birth();
        let walk = Walk::below(newest, self.ticket, tenant, filter);
        count_on(room, walk, 0);
    }
}

/// Walks to the end, and counts.
fn count_on(room: &mut Room, walk: Walk, so_far: u64) {
    let then = move |room: &mut Room, walk: Walk, slice: Slice| {
        let ticket = walk.ticket;
        if let Some(error) = hidden(&slice.unknown) {
            return room.desk.refuse(ticket, &error);
        }
        let so_far = so_far + slice.kept.len() as u64;
        if walk.is_over() {
            room.desk.reply(ticket, reply::count_response(so_far));
        } else {
            count_on(room, walk, so_far);
        }
    };
    walk.step(room, Box::new(then));
}
