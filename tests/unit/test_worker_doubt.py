"""A worker's book after a refusal: what is in doubt, what is said again, and when."""

import itertools
import threading
from collections.abc import Iterator

from grpc import StatusCode

from backlane.errors import (
    BacklaneError,
    ErrorParts,
    FieldViolation,
    InvalidArgumentError,
    MessageTooLargeError,
    RateLimitedError,
)
from backlane.v1 import worker_service_pb2 as api
from backlane.worker.book import Book
from backlane.worker.reports import Entry, Trail
from tests.unit.test_worker_book import NEVER_SILENT_S, completed, completion, kinds, lease


def test_results_in_doubt_are_taken_back_and_held_no_more() -> None:
    book = Book(4, silence_s=NEVER_SILENT_S)
    messages = book.begin_stream(api.WorkHello())
    kinds(messages, 2)
    book.arrive([lease("a")], acknowledge=False)
    book.settle([completion("a")])
    kinds(messages, 1)

    assert [completion("a")] == book.doubt(
        BacklaneError(ErrorParts(StatusCode.OUT_OF_RANGE, "too large"))
    )
    assert book.is_empty


def refused(*fields: str) -> BacklaneError:
    violations = tuple(FieldViolation(field, "is bad") for field in fields)
    parts = ErrorParts(StatusCode.INVALID_ARGUMENT, "bad", violations=violations)
    return InvalidArgumentError(parts)


def said_of(*names: str) -> tuple[Book, Iterator[api.WorkRequest]]:
    """A book that has said a result of each of these leases, one message each."""
    book = Book(8, silence_s=NEVER_SILENT_S)
    messages = book.begin_stream(api.WorkHello())
    kinds(messages, 2)
    for name in names:
        book.arrive([lease(name)], acknowledge=False)
        book.settle([completion(name)])
        kinds(messages, 1)
    return book, messages


def test_of_several_messages_only_the_first_without_an_answer_is_in_doubt() -> None:
    book, _ = said_of("a", "b", "c")
    book.answer()

    assert book.doubt(refused("complete.results[0].output")) == [completion("b")]
    _, again = itertools.islice(book.begin_stream(api.WorkHello()), 2)
    assert completed(again) == ["c"]


def test_an_error_about_another_kind_of_message_puts_no_result_in_doubt() -> None:
    book, _ = said_of("a")

    assert book.doubt(refused("progress.reports[0].fraction")) == []
    _, again = itertools.islice(book.begin_stream(api.WorkHello()), 2)
    assert completed(again) == ["a"]


def test_an_error_that_names_no_kind_of_message_is_about_the_oldest() -> None:
    book, _ = said_of("a", "b")

    assert book.doubt(refused("results[0].output")) == [completion("a")]


def test_a_message_that_is_too_large_for_the_transport_is_the_largest_one() -> None:
    book, _ = said_of("a", "much-longer", "b")
    error = MessageTooLargeError(ErrorParts(StatusCode.RESOURCE_EXHAUSTED, "larger than max"))

    assert book.doubt(error) == [completion("much-longer")]


def test_of_a_refused_message_with_several_items_each_is_said_alone() -> None:
    book = Book(4, silence_s=NEVER_SILENT_S)
    messages = book.begin_stream(api.WorkHello())
    kinds(messages, 2)
    names = ["a", "b", "c"]
    book.arrive([lease(name) for name in names], acknowledge=False)
    book.settle([completion(name) for name in names])
    assert kinds(messages, 1) == ["complete"]

    assert book.doubt(refused("complete.results[1].output")) == []
    _, *alone = itertools.islice(book.begin_stream(api.WorkHello()), 4)
    assert [completed(message) for message in alone] == [["a"], ["b"], ["c"]]
    book.answer()
    assert book.doubt(refused("complete.results[0].output")) == [completion("b")]
    _, last = itertools.islice(book.begin_stream(api.WorkHello()), 2)
    assert completed(last) == ["c"]


class Ends:
    """Notes how a wait ended."""

    def __init__(self, notes: list[BaseException | None]) -> None:
        self.end = notes.append


def test_only_the_bad_report_of_steps_is_refused() -> None:
    book = Book(4, silence_s=NEVER_SILENT_S)
    messages = book.begin_stream(api.WorkHello())
    kinds(messages, 2)
    ends: dict[str, list[BaseException | None]] = {}
    for name in "ab":
        waiter = Ends(ends.setdefault(name, []))
        entry = Entry("s", api.StepAction(completed=api.StepCompleted(step_id="s")), waiter)
        book.report(Trail(name, f"{name}-token", ""), [entry], is_urgent=True)
    [both] = itertools.islice(messages, 1)
    assert len(both.steps.reports) == 2

    error = refused("steps.reports[0].actions")
    assert book.doubt(error) == []
    assert ends == {"a": [], "b": []}
    kinds(book.begin_stream(api.WorkHello()), 3)
    book.doubt(error)
    assert ends == {"a": [error], "b": []}
    _, again = itertools.islice(book.begin_stream(api.WorkHello()), 2)
    book.answer()
    book.answer_reports(again.steps.reports, [None])
    assert ends == {"a": [error], "b": [None]}


def test_what_is_said_after_a_pause_needs_no_thread_of_its_own() -> None:
    book = Book(4, silence_s=NEVER_SILENT_S)
    messages = book.begin_stream(api.WorkHello())
    kinds(messages, 2)
    trails = [Trail(name, f"{name}-token", "") for name in "abc"]
    before = threading.active_count()
    for trail in trails:
        entry = Entry("s", api.StepAction(completed=api.StepCompleted(step_id="s")))
        book.report(trail, [entry], is_urgent=True)
    [reports] = itertools.islice(messages, 1)
    busy = RateLimitedError(ErrorParts(StatusCode.RESOURCE_EXHAUSTED, "busy", retry_after_s=0.02))
    book.answer()
    book.answer_reports(reports.steps.reports, [busy] * 3)
    book.settle_again([completion("d")], pause_s=0.01)

    assert threading.active_count() == before
    first, second = itertools.islice(messages, 2)
    assert completed(first) == ["d"]
    assert [report.execution_id for report in second.steps.reports] == ["a", "b", "c"]
