"""A worker process of the demo: `python -m backlane.cli.demo.worker TARGET TENANT NAME FOLDER`."""

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
"""Short, since after a restart of the server the leases of a killed worker last this long."""


def main(target: str, tenant: str, name: str, folder: Path) -> None:
    """Work until SIGTERM, and record the accepted results in a journal in the folder."""
    with Journal(folder / f"{name}.journal") as record:
        worker = Worker(
            worker_id=name,
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
