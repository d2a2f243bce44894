"""A worker process of the demo: `python -m backlane.cli.demo.worker TARGET TENANT NAME JOURNAL`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from backlane.cli.demo.callables import CALLABLE, describe
from backlane.worker import Worker
from backlane.worker.journal import Journal

SLOTS: Final = 8
"""Executions that one worker runs at once."""
LEASE_S: Final = 5.0
"""Short, because the leases of a killed worker run for this long after a restarted server."""


def main(target: str, tenant: str, name: str, journal: Path) -> None:
    """Work until SIGTERM, and write down what was accepted."""
    with Journal(journal) as record:
        worker = Worker(
            name,
            target=target,
            tenants=tenant,
            concurrency=SLOTS,
            lease=LEASE_S,
            observe=record,
        )
        worker.callable(name=CALLABLE)(describe)
        worker.run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
