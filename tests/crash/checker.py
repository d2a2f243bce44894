"""Owns the comparison of the clients' records with the server's at the end."""

import itertools
from dataclasses import dataclass, field

from google.protobuf import json_format

from backlane.v1 import execution_pb2 as records
from tests.crash.ledger import Acknowledged, Ledger
from tests.crash.producers import CALLABLE, RETRY
from tests.crash.workers import checksum
from tests.plain_client import PlainClient

REPEATED = 300
"""How many request ids are repeated at the end."""


@dataclass
class Findings:
    """The differences, by kind; all are empty if there are none. Executions are named by id.

    Attributes:
        lost: acknowledged, and not there.
        doubled: there, and acknowledged to nobody: a repeated request made a second one.
        altered: their input is not byte for byte what was sent.
        unfinished: not completed, though all faults are over.
        wrong: their output is not that of their input.
        accepted_twice: completions under two lease tokens were answered OK.
        contradictions: answers that cannot be true beside earlier ones.
    """

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    accepted_twice: list[str] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)


def check(client: PlainClient, ledger: Ledger) -> Findings:
    """Compare everything the clients were told with everything the server has."""
    repeat_some(client, ledger)
    sent = {item.execution_id: item for item in ledger.by_request.values()}
    found = {item.execution_id: item for item in client.list_all(view=records.VIEW_FULL)}
    findings = Findings(
        lost=sorted(sent.keys() - found.keys()),
        doubled=sorted(found.keys() - sent.keys()),
        accepted_twice=[name for name, tokens in ledger.tokens.items() if len(tokens) > 1],
        contradictions=ledger.contradictions,
    )
    for execution_id in sent.keys() & found.keys():
        _check_one(findings, sent[execution_id], found[execution_id])
    return findings


def repeat_some(client: PlainClient, ledger: Ledger) -> None:
    """Repeat acknowledged enqueues by their request id; the ledger reports a different id."""
    unary = (item for name, item in ledger.by_request.items() if name.startswith("unary-"))
    for item in itertools.islice(unary, REPEATED):
        answer = client.enqueue(CALLABLE, item.text, request_id=item.request_id, config=RETRY)
        execution = answer.execution
        ledger.acknowledge([Acknowledged(item.request_id, execution.execution_id, item.text)])
        if not answer.existing:
            ledger.contradict(f"{item.request_id} was taken for a new one")


def _check_one(findings: Findings, sent: Acknowledged, found: records.BackgroundExecution) -> None:
    if found.input != sent.text:
        findings.altered.append(sent.execution_id)
    if found.status != records.BACKGROUND_EXECUTION_STATUS_COMPLETED:
        findings.unfinished.append(sent.execution_id)
    elif json_format.MessageToDict(found.output) != checksum(sent.text):
        findings.wrong.append(sent.execution_id)
