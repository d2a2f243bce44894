"""Owns the type of the fixture `backlane_worker`, for the annotations of tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from backlane import Worker
    from backlane.worker import Shift


class StartWorker(Protocol):
    """Runs a worker in the background until the test ends, and then drains it."""

    def __call__(self, worker: Worker, /, **overrides: Any) -> Shift:  # noqa: ANN401
        """Run a worker for this test's tenant.

        Args:
            worker: the worker.
            overrides: settings for this run only, as in `Worker.run`.

        Returns:
            The run, which can be drained and waited for before the test ends.

        Raises:
            CallableError: the worker has no callables, or an annotation cannot be resolved.
        """
