"""WorkerCore called directly: no process, no event loop."""

import queue
import threading

import pytest

from models.serving.wire import Delta, Failed, Finished, JobMessage, Refused, RunStarted, WireError
from models.serving.worker_core import WorkerCore
from tests.bigram_model import BigramModel, FaultyModel
from tests.serving_reader import ask


@pytest.fixture
def messages():
    return queue.Queue()


@pytest.fixture
def core(messages):
    core = WorkerCore(FaultyModel(slots=2), messages.put)
    yield core
    core.close()


def until_last(messages, *, on_delta=lambda delta: None) -> list[JobMessage]:
    received = []
    while True:
        received.append(messages.get(timeout=20))
        if isinstance(received[-1], Delta):
            on_delta(received[-1])
        if isinstance(received[-1], Finished | Refused | Failed):
            return received


def test_a_story_is_started_streamed_and_finished(core, messages):
    core.run(ask("r", max_new_tokens=7))
    started, *deltas, finished = until_last(messages)
    assert started == RunStarted(request_id="r")
    assert "".join(delta.text for delta in deltas) == finished.output.text
    assert finished.output.new_tokens == len(deltas) == 7


def test_the_same_seed_gives_the_same_text_and_another_seed_another(core, messages):
    texts = []
    for seed in (1, 1, 2):
        core.run(ask("r", seed=seed))
        texts.append(until_last(messages)[-1].output.text)
    assert texts[0] == texts[1] != texts[2]


def test_a_cancelled_story_stops_within_one_token(core, messages):
    core.run(ask("r", max_new_tokens=2048))
    *_, finished = until_last(messages, on_delta=lambda delta: core.cancel("r"))
    assert finished.output.finish_reason == "cancelled"
    assert finished.output.new_tokens < 2048


def test_after_a_cancel_exactly_one_more_token_is_generated():
    sent: list[JobMessage] = []
    done = threading.Event()

    def send(message: JobMessage) -> None:
        sent.append(message)
        if isinstance(message, Delta) and len(sent) == 4:
            core.cancel("r")
        if isinstance(message, Finished):
            done.set()

    core = WorkerCore(BigramModel(), send)
    core.run(ask("r", max_new_tokens=2048))
    assert done.wait(20)
    core.close()
    assert sum(isinstance(message, Delta) for message in sent) == 3
    assert sent[-1].output.new_tokens == 3


def test_more_than_the_slots_wait_and_can_be_cancelled_before_they_start(core, messages):
    holding = threading.Event()
    for number in range(2):
        core.run(ask(f"hold{number}", "[hang] never", max_new_tokens=4))  # short of the fault: 4 < 5 characters
    core.run(ask("r"))
    core.cancel("r")
    finished = [message for _ in range(3) for message in [until_last(messages)[-1]]]
    assert {message.output.finish_reason for message in finished if message.output.request_id == "r"} <= {
        "cancelled",
        "length",
    }
    assert not holding.is_set()


def test_a_value_error_refuses_the_request_and_keeps_the_core(core, messages):
    core.run(ask("r", "   "))
    assert until_last(messages)[-1] == Refused(request_id="r", reason="the story is empty")
    core.run(ask("s"))
    assert isinstance(until_last(messages)[-1], Finished)


@pytest.mark.parametrize("fault", ["[raise]", "[raise][prefill]"])
def test_any_other_exception_is_a_failure_with_its_name(core, messages, fault):
    core.run(ask("r", fault))
    assert until_last(messages)[-1] == Failed(request_id="r", reason="RuntimeError: the model broke on purpose")


def test_text_that_can_not_be_sent_is_a_failure_of_the_model_not_a_refusal():
    sent = queue.Queue()

    def send(message: JobMessage) -> None:
        if isinstance(message, Delta):
            raise WireError("lone surrogate")
        sent.put(message)

    core = WorkerCore(BigramModel(), send)
    core.run(ask("r"))
    last = until_last(sent)[-1]
    core.close()
    assert isinstance(last, Failed)
    assert "lone surrogate" in last.reason


def test_closing_cancels_what_runs_and_frees_the_model(messages):
    model = BigramModel(pause_s=0.001)
    core = WorkerCore(model, messages.put)
    core.run(ask("r", max_new_tokens=2048))
    assert isinstance(messages.get(timeout=20), RunStarted)
    core.close()
    assert until_last(messages)[-1].output.finish_reason == "cancelled"
    assert model.closed.is_set()
    assert core.running == 0


def test_an_unknown_id_is_ignored(core):
    core.cancel("nobody")
