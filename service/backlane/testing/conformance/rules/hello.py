"""Owns the rules about the beginning of a stream."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from backlane.testing.conformance.breach import demand
from backlane.testing.conformance.rule import rule
from backlane.testing.conformance.stage import TENANT, WORKER_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backlane.testing.conformance.stage import Stage

OFFERED_MAX: Final = 1000
OFFER_MAX: Final = 1000
ID: Final = re.compile(r"[A-Za-z0-9._:@/-]{1,128}")
CALLABLE: Final = re.compile(r"\*|[A-Za-z0-9._:@/-]{1,254}\.\*|[A-Za-z0-9._:@/-]{1,256}")


@rule("§6 hello")
def hello_comes_first(stage: Stage) -> None:
    """The first message of a stream is a hello, and no other message is."""
    session = stage.connect()
    stage.echo(session)
    hellos = session.ledger.count("hello")
    demand(hellos == 1, f"{hellos} hellos came on one stream")


@rule("§2, §6 hello")
def hello_is_valid(stage: Stage) -> None:
    """The hello has a valid worker id, tenants, callables and lease period."""
    hello = stage.accept().hello()
    demand(ID.fullmatch(hello.worker_id), f"worker_id {hello.worker_id!r} breaks its form")
    demand(
        hello.worker_id == WORKER_NAME,
        f"worker_id is {hello.worker_id!r}, BACKLANE_WORKER_NAME {WORKER_NAME!r}",
    )
    tenants = list(hello.tenant_ids)
    demand(tenants == [TENANT], f"tenant_ids are {tenants}, and BACKLANE_TENANT is {TENANT!r}")
    _check_offer(hello.callables)
    demand(
        hello.lease_duration_ms == stage.settings.lease_ms,
        f"lease_duration_ms is {hello.lease_duration_ms}, and BACKLANE_LEASE_MS is "
        f"{stage.settings.lease_ms}",
    )
    demand(not hello.held, f"held names {len(hello.held)} leases, and the program holds none")


def _check_offer(offer: Iterable[str]) -> None:
    patterns = list(offer)
    demand(
        1 <= len(patterns) <= OFFERED_MAX,
        f"{len(patterns)} callables are offered, 1 to {OFFER_MAX} may be",
    )
    for pattern in patterns:
        demand(CALLABLE.fullmatch(pattern), f"the callable {pattern!r} breaks its form")


RULES = (hello_comes_first, hello_is_valid)
