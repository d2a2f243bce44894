"""A worker's book: the messages on a stream, and those that are repeated on the next."""

import itertools
import threading
import time
from collections.abc import Iterator

from backlane.v1 import worker_service_pb2 as api
from backlane.v1.execution_pb2 import BackgroundExecution
from backlane.worker.book import ADVANCE_EACH_S, Book
from backlane.worker.reports import Entry, Trail
from backlane.worker.results import MESSAGE_ITEMS_MAX

NEVER_SILENT_S = 60.0


def lease(name: str) -> api.Lease:
    return api.Lease(execution=BackgroundExecution(execution_id=name), lease_token=f"{name}-token")


def ref(name: str) -> api.LeaseRef:
    return api.LeaseRef(execution_id=name, lease_token=f"{name}-token")


def completion(name: str) -> api.CompleteResult:
    return api.CompleteResult(execution_id=name, lease_token=f"{name}-token")


def kinds(messages: Iterator[api.WorkRequest], count: int) -> list[str | None]:
    return [message.WhichOneof("message") for message in itertools.islice(messages, count)]


def completed(message: api.WorkRequest) -> list[str]:
    return [result.execution_id for result in message.complete.results]


def test_a_stream_begins_with_hello_and_credit_for_all_the_room() -> None:
    hello, credit = itertools.islice(
        Book(8, silence_s=NEVER_SILENT_S).begin_stream(api.WorkHello()), 2
    )

    assert api.WorkRequest(hello=api.WorkHello()) == hello
    assert api.WorkRequest(credit=api.WorkCredit(executions=8)) == credit


def test_silence_is_filled_with_heartbeats() -> None:
    messages = Book(8, silence_s=0.001).begin_stream(api.WorkHello())

    assert kinds(messages, 4) == ["hello", "credit", "heartbeat", "heartbeat"]


def test_words_that_bring_no_message_put_no_heartbeat_off() -> None:
    book = Book(8, silence_s=0.2)
    messages = book.begin_stream(api.WorkHello())
    kinds(messages, 2)
    said: list[str | None] = []
    is_said = threading.Event()

    def listen() -> None:
        said.extend(kinds(messages, 1))
        is_said.set()

    listener = threading.Thread(target=listen)
    listener.start()
    # Far beyond the silence: a heartbeat that starts anew with each word never comes.
    for _ in range(100):
        if is_said.wait(0.05):
            break
        book.vacate("nobody")
    book.give_up_stream()
    listener.join(10)

    assert said == ["heartbeat"]


def test_results_of_one_kind_go_together_and_credit_follows_them() -> None:
    book = Book(2, silence_s=NEVER_SILENT_S)
    messages = book.begin_stream(api.WorkHello())
    kinds(messages, 2)
    book.arrive([lease("a"), lease("b")], acknowledge=True)
    book.settle([completion("a"), completion("b")])

    # A result says that its lease has arrived, so no acknowledgement is needed.
    assert kinds(messages, 2) == ["complete", "credit"]


def test_a_result_without_an_answer_is_said_again_on_the_next_stream() -> None:
    book = Book(4, silence_s=NEVER_SILENT_S)
    first = book.begin_stream(api.WorkHello())
    book.arrive([lease("a"), lease("b"), lease("c")], acknowledge=False)
    book.settle([completion("a"), completion("b")])
    assert kinds(first, 2) == ["hello", "complete"]

    hello, again = itertools.islice(book.begin_stream(api.WorkHello()), 2)

    assert [ref("a"), ref("b"), ref("c")] == list(hello.hello.held)
    assert completed(again) == ["a", "b"]
    assert list(first) == []


def test_after_two_broken_streams_all_is_said_again_in_the_first_order() -> None:
    book = Book(4, silence_s=NEVER_SILENT_S)
    first = book.begin_stream(api.WorkHello())
    book.arrive([lease("a"), lease("b")], acknowledge=False)
    assert kinds(first, 1) == ["hello"]
    for name in "ab":
        book.settle([completion(name)])
        assert completed(next(first)) == [name]

    second = book.begin_stream(api.WorkHello())
    _, again = itertools.islice(second, 2)
    assert completed(again) == ["a"]

    third = book.begin_stream(api.WorkHello())
    next(third)
    assert [completed(message) for message in itertools.islice(third, 2)] == [["a"], ["b"]]


def test_an_answered_result_is_not_said_again() -> None:
    book = Book(4, silence_s=NEVER_SILENT_S)
    first = book.begin_stream(api.WorkHello())
    book.arrive([lease("a")], acknowledge=False)
    book.settle([completion("a")])
    kinds(first, 2)

    assert completed(book.answer()) == ["a"]
    assert book.is_empty
    assert kinds(book.begin_stream(api.WorkHello()), 2) == ["hello", "credit"]


def test_nothing_is_reported_of_a_lease_that_was_lost() -> None:
    book = Book(4, silence_s=NEVER_SILENT_S)
    messages = book.begin_stream(api.WorkHello())
    kinds(messages, 2)
    book.arrive([lease("a"), lease("b")], acknowledge=False)
    book.lose([ref("a")])
    book.settle([completion("a"), completion("b")])

    assert completed(next(messages)) == ["b"]


def test_a_lease_that_the_server_does_not_welcome_is_lost_unless_its_result_is_on_its_way() -> None:
    book = Book(4, silence_s=NEVER_SILENT_S)
    book.arrive([lease("a"), lease("b")], acknowledge=False)
    book.settle([completion("a")])
    messages = book.begin_stream(api.WorkHello())

    book.welcome([])
    book.settle([completion("b")])

    assert kinds(messages, 3) == ["hello", "complete", "credit"]
    assert completed(book.answer()) == ["a"]
    assert book.is_empty


def test_a_drain_ends_the_messages_once_everything_is_answered() -> None:
    book = Book(4, silence_s=NEVER_SILENT_S)
    messages = book.begin_stream(api.WorkHello())
    kinds(messages, 2)
    book.arrive([lease("a"), lease("b")], acknowledge=False)

    book.drain()
    book.settle([ref("b")])
    book.settle([completion("a")])

    assert kinds(messages, 3) == ["drain", "release", "complete"]
    book.answer()
    book.answer()
    assert list(messages) == []


def test_what_is_open_can_be_given_back_while_it_runs() -> None:
    book = Book(4, silence_s=NEVER_SILENT_S)
    messages = book.begin_stream(api.WorkHello())
    kinds(messages, 2)
    book.arrive([lease("a")], acknowledge=False)

    book.release_open()
    book.settle([completion("a")])

    assert [ref("a")] == list(next(messages).release.releases)
    assert kinds(messages, 1) == ["credit"]


def test_a_lost_lease_keeps_its_slot_until_its_callable_has_ended() -> None:
    book = Book(1, silence_s=0.001)
    messages = book.begin_stream(api.WorkHello())
    kinds(messages, 2)
    book.arrive([lease("a")], acknowledge=True)
    kinds(messages, 1)

    assert book.lose([ref("a")]) == {"a-token"}
    assert kinds(messages, 1) == ["heartbeat"]
    book.vacate("a-token")
    assert kinds(messages, 1) == ["credit"]


def test_a_message_holds_no_more_results_than_the_server_takes() -> None:
    names = [f"e{number}" for number in range(MESSAGE_ITEMS_MAX + 1)]
    book = Book(len(names), silence_s=NEVER_SILENT_S)
    messages = book.begin_stream(api.WorkHello())
    kinds(messages, 2)
    book.arrive([lease(name) for name in names], acknowledge=False)
    book.settle([completion(name) for name in names])

    sizes = [len(completed(message)) for message in itertools.islice(messages, 2)]

    assert sizes == [MESSAGE_ITEMS_MAX, 1]


def test_a_free_slot_is_offered_at_once_where_the_server_has_no_credit_left() -> None:
    book = Book(16, silence_s=NEVER_SILENT_S)
    messages = book.begin_stream(api.WorkHello())
    kinds(messages, 2)
    book.arrive([lease(f"e{number}") for number in range(16)], acknowledge=False)

    book.settle([completion("e0")])

    _, credit = itertools.islice(messages, 2)
    assert api.WorkRequest(credit=api.WorkCredit(executions=1)) == credit


def test_what_follows_a_refusal_is_held_while_it_waits() -> None:
    book = Book(4, silence_s=NEVER_SILENT_S)

    book.settle_again([completion("a")], pause_s=60.0)

    assert not book.is_empty
    assert [ref("a")] == list(next(book.begin_stream(api.WorkHello())).hello.held)


def test_a_lease_that_comes_after_the_last_word_is_spoken_of_on_the_next_stream() -> None:
    book = Book(4, silence_s=NEVER_SILENT_S)
    messages = book.begin_stream(api.WorkHello())
    kinds(messages, 2)
    book.drain()
    assert kinds(messages, 2) == ["drain"]

    book.arrive([lease("a")])
    again = book.begin_stream(api.WorkHello())
    hello = next(again).hello
    book.welcome(hello.held)
    book.settle([completion("a")])

    assert [ref("a")] == list(hello.held)
    assert kinds(again, 2) == ["drain", "complete"]


def progress(name: str, fraction: float) -> api.ProgressReport:
    return api.ProgressReport(execution_id=name, lease_token=f"{name}-token", fraction=fraction)


def test_the_newest_progress_of_all_leases_goes_together_and_rarely() -> None:
    book = Book(2, silence_s=NEVER_SILENT_S)
    messages = book.begin_stream(api.WorkHello())
    kinds(messages, 2)
    book.arrive([lease("a"), lease("b")], acknowledge=False)
    for fraction in (0.25, 0.5, 0.75):
        book.advance(progress("a", fraction))
    book.advance(progress("b", 1.0))

    [message] = itertools.islice(messages, 1)

    assert list(message.progress.reports) == [progress("a", 0.75), progress("b", 1.0)]
    began = time.monotonic()
    book.advance(progress("a", 0.875))
    [message] = itertools.islice(messages, 1)
    assert list(message.progress.reports) == [progress("a", 0.875)]
    assert time.monotonic() - began > ADVANCE_EACH_S / 2


def test_progress_of_a_lease_that_has_a_result_or_is_lost_is_dropped() -> None:
    book = Book(3, silence_s=NEVER_SILENT_S)
    messages = book.begin_stream(api.WorkHello())
    kinds(messages, 2)
    book.arrive([lease("a"), lease("b"), lease("c")], acknowledge=False)
    for name in "abc":
        book.advance(progress(name, 0.5))
    book.settle([completion("a")])
    book.lose([ref("b")])
    book.advance(progress("a", 1.0))

    assert kinds(messages, 1) == ["complete"]
    rest = [next(messages) for _ in range(2)]
    [message] = [one for one in rest if one.HasField("progress")]
    assert list(message.progress.reports) == [progress("c", 0.5)]


def test_progress_gets_no_answer_and_is_not_repeated_on_another_stream() -> None:
    book = Book(1, silence_s=NEVER_SILENT_S)
    messages = book.begin_stream(api.WorkHello())
    kinds(messages, 2)
    book.arrive([lease("a")], acknowledge=False)
    book.advance(progress("a", 0.5))
    assert kinds(messages, 1) == ["progress"]
    book.settle([completion("a")])
    assert kinds(messages, 1) == ["complete"]

    assert completed(book.answer()) == ["a"]
    assert kinds(book.begin_stream(api.WorkHello()), 1) == ["hello"]
    book.drain()
    assert book.is_empty


def test_a_report_without_an_answer_is_said_again_with_its_number_and_before_the_result() -> None:
    book = Book(4, silence_s=NEVER_SILENT_S)
    first = book.begin_stream(api.WorkHello())
    book.arrive([lease("a")], acknowledge=False)
    trail = Trail("a", "a-token", "1")
    started = Entry("s", api.StepAction(started=api.NewStep(step_id="s")))
    completed_step = Entry("s", api.StepAction(completed=api.StepCompleted(step_id="s")))
    book.report(trail, [started], is_urgent=True)
    assert kinds(first, 2) == ["hello", "steps"]
    book.report(trail, [completed_step], is_urgent=True)
    book.settle([completion("a")])

    _, again, last, result = itertools.islice(book.begin_stream(api.WorkHello()), 4)

    assert [report.sequence for report in again.steps.reports] == [1]
    assert [report.sequence for report in last.steps.reports] == [2]
    assert completed(result) == ["a"]
    for _ in range(2):
        reports = book.answer().steps.reports
        assert book.answer_reports(reports, [None]) == []
    book.answer()
    assert book.is_empty


def test_a_report_that_nobody_waits_for_goes_soon_by_itself() -> None:
    book = Book(4, silence_s=NEVER_SILENT_S)
    messages = book.begin_stream(api.WorkHello())
    kinds(messages, 2)
    trail = Trail("a", "a-token", "")
    book.report(trail, [Entry("s", api.StepAction(started=api.NewStep()))], is_urgent=False)

    assert kinds(messages, 1) == ["steps"]
