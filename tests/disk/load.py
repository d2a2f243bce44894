"""A mixed load that fills the disk of a server, at a rate, and what the server made of it.

A producer enqueues at the rate, and a worker leases and completes an execution for each two that
were acknowledged. Once enqueues are refused both go on as before. Then another program frees its
part of the disk.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Condition
from typing import TYPE_CHECKING, Final

from backlane.v1 import execution_pb2 as records
from tests.conformance.door import MIB, text_of
from tests.disk.stand import BALLAST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.disk.stand import Stand

FULL: Final = "DISK_FULL"
COMPLETED: Final = records.BACKGROUND_EXECUTION_STATUS_COMPLETED
OUTPUT_BYTES: Final = 2_000
WHILE_FULL: Final = 10
"""So many enqueues are refused, and completions accepted, before the disk has room again."""
AFTERWARDS: Final = 5
"""So many enqueues are accepted afterwards."""
PATIENCE_S: Final = 60.0
WAIT_MS: Final = 200
"""How long a lease waits at the server for work, in milliseconds."""
KEPT_BYTES: Final = 36 * MIB
"""With less than this beside its reserve, a server refuses enqueues."""


@dataclass(frozen=True)
class Load:
    """What a producer sends.

    Attributes:
        name: the rate, for people.
        item_bytes: the size of an input.
        items: how many executions there are in a call.
        calls_per_s: how many calls begin in a second; None for one after the other.
        room_bytes: the room for new executions at the beginning.
    """

    name: str
    item_bytes: int
    items: int
    calls_per_s: float | None
    room_bytes: int


LOADS: Final = (
    Load("1 MB/s", 100_000, 1, 10, 6 * MIB),
    Load("5 MB/s", 100_000, 1, 50, 20 * MIB),
    Load("20 MB/s", 100_000, 1, 200, 60 * MIB),
    Load("15 MB batches", 1_000_000, 15, None, 90 * MIB),
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one load.

    Attributes:
        mb_per_s: what was acknowledged before the first refusal, in 10^6 bytes of input a second.
        enqueued: executions that were acknowledged.
        refused: calls that were answered with `DISK_FULL`.
        completed: completions that were accepted.
        completed_while_full: those of them that were accepted while enqueues were refused.
        other_answers: all other answers.
        lost: acknowledged executions and completions that the server does not know afterwards.
        back_s: seconds from the freeing of space to the next enqueue that was accepted.
        exit_status: the server's, when it was stopped at the end.
    """

    mb_per_s: float
    enqueued: int
    refused: int
    completed: int
    completed_while_full: int
    other_answers: frozenset[str]
    lost: frozenset[str]
    back_s: float
    exit_status: int


@dataclass
class Tally:
    """What both threads have seen so far."""

    enqueued: int = 0
    refused: int = 0
    completed: list[str] = field(default_factory=list)
    completed_while_full: int = 0
    accepted_afterwards: int = 0
    others: set[str] = field(default_factory=set)
    mb_per_s: float = 0.0
    has_room_again: bool = False
    is_over: bool = False
    changed: Condition = field(default_factory=Condition)

    def wait_until(self, is_true: Callable[[], bool]) -> None:
        """Block until the load has come so far.

        Raises:
            TimeoutError: it has not, for a long time.
        """
        with self.changed:
            if not self.changed.wait_for(is_true, PATIENCE_S):
                raise TimeoutError(repr(self))


def fill(stand: Stand, load: Load) -> Outcome:
    """Run the load on a server until its disk is full and has room again."""
    leave(stand, load.room_bytes)
    tally = Tally()
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(_produce, stand, load, tally), pool.submit(_work, stand, tally)]
        try:
            back_s = _see_it_through(stand, tally)
        finally:
            with tally.changed:
                tally.is_over = True
                tally.changed.notify_all()
        for one in running:
            one.result(PATIENCE_S)
    lost = frozenset(_lost(stand, tally))
    return Outcome(
        mb_per_s=tally.mb_per_s,
        enqueued=tally.enqueued,
        refused=tally.refused,
        completed=len(tally.completed),
        completed_while_full=tally.completed_while_full,
        other_answers=frozenset(tally.others),
        lost=lost,
        back_s=back_s,
        exit_status=stand.server.stop(),
    )


def leave(stand: Stand, room_bytes: int) -> None:
    """Take away what is free beyond so much room for new executions."""
    stand.disk.occupy(BALLAST, stand.disk.free_bytes - KEPT_BYTES - room_bytes)


def _see_it_through(stand: Stand, tally: Tally) -> float:
    tally.wait_until(lambda: min(tally.refused, tally.completed_while_full) >= WHILE_FULL)
    began = time.monotonic()
    with tally.changed:
        stand.disk.give_back(BALLAST)
        tally.has_room_again = True
    tally.wait_until(lambda: tally.accepted_afterwards > 0)
    back_s = time.monotonic() - began
    tally.wait_until(lambda: tally.accepted_afterwards >= AFTERWARDS)
    return back_s


def _produce(stand: Stand, load: Load, tally: Tally) -> None:
    began = time.monotonic()
    for _ in _beats(load, tally):
        is_afterwards = tally.has_room_again
        reason = stand.enqueue_batch(load.item_bytes, load.items)
        with tally.changed:
            if reason is None:
                tally.enqueued += load.items
                tally.accepted_afterwards += is_afterwards
            elif reason == FULL:
                seconds = time.monotonic() - began
                mb_per_s = tally.enqueued * load.item_bytes / seconds / 1e6
                tally.mb_per_s = tally.mb_per_s or mb_per_s
                tally.refused += 1
            else:
                tally.others.add(reason)
            tally.changed.notify_all()


def _beats(load: Load, tally: Tally) -> Iterator[None]:
    """Yield when it is time for the next call, until the load is over."""
    next_s = time.monotonic()
    while not tally.is_over:
        yield
        if load.calls_per_s is not None:
            next_s += 1 / load.calls_per_s
            with tally.changed:
                # Shorter than its time once the load is over.
                left_s = max(0.0, next_s - time.monotonic())
                tally.changed.wait_for(lambda: tally.is_over, left_s)


def _work(stand: Stand, tally: Tally) -> None:
    """Complete one execution for each two that were acknowledged, and as many while it is full."""
    while not tally.is_over:
        with tally.changed:
            tally.changed.wait_for(
                lambda: tally.is_over or tally.refused or 2 * len(tally.completed) < tally.enqueued
            )
        for lease in stand.door.lease(lease_duration_ms=600_000, wait_ms=WAIT_MS):
            outcome = stand.door.complete(lease, text_of(OUTPUT_BYTES))
            with tally.changed:
                if outcome.HasField("result"):
                    tally.completed.append(lease.execution.execution_id)
                    is_full = tally.refused > 0 and not tally.has_room_again
                    tally.completed_while_full += is_full
                else:
                    tally.others.add(outcome.status.message)
                tally.changed.notify_all()


def _lost(stand: Stand, tally: Tally) -> Iterator[str]:
    completed = set(tally.completed)
    for known in stand.acknowledged:
        status = stand.status(known)
        if status is None or (known in completed and status != COMPLETED):
            yield known
