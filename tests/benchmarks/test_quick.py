"""Tests that the benchmark works: a quick run of each workload against a real server."""

import json
import math

import pytest

from tests.benchmarks.main import EXIT_CANNOT_RUN, EXIT_OK, WORKLOADS, main

DIFFERENCES = {
    "memory, batches", "memory, stream with request ids", "of that, recovery",
    "memory, wait for an input", "memory, wait for an input, after a restart",
    "memory, wait for a day", "memory, wait for a day, after a restart",
    "idle server and worker",
}  # fmt: skip
"""Figures that may be zero or negative on a busy machine or after a moment."""


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_quick_run_reports_figures(workload: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = main([workload], quick=True, as_json=True, profile=False, allow_debug=True)
    report = json.loads(capsys.readouterr().out)

    assert status == EXIT_OK
    figures = report["figures"][workload]
    assert all(math.isfinite(figure["value"]) for figure in figures)
    assert all(figure["value"] > 0 for figure in figures if figure["name"] not in DIFFERENCES)
    assert {"commit", "grpcio", "processors", "fdatasync", "core build"} <= set(report["machine"])


def test_an_unknown_workload_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["speed"], quick=True, as_json=False, profile=False, allow_debug=True)

    assert status == EXIT_CANNOT_RUN
    assert "no workload speed" in capsys.readouterr().err
