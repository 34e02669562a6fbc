"""One worker, several story models: which one writes, when it is loaded, and what happens when it is missing."""

import queue
import threading
from pathlib import Path

import msgspec
import pytest

from models.language.story_model import StoryModelMissingError
from models.serving.engine import ModelMissingError
from models.serving.in_process import InProcessEngine
from models.serving.local_engine import LocalEngine
from models.serving.named_models import NamedModels
from models.serving.wire import Refused
from models.serving.worker_core import WorkerCore
from models.training.teach import teach
from tests.bigram_model import BigramModel
from tests.serving_reader import CONFIG, ask, served

OTHER = "Zorblax the grocer polished his nine brass umbrellas and whistled. "


def named(request, model):
    return msgspec.structs.replace(request, model=model)


class Loads:
    """Counts how often it made its model, and fails the first `failures` times."""

    def __init__(self, failures: int = 0) -> None:
        self.count, self.failures = 0, failures
        self.model = BigramModel(OTHER, slots=1)

    def __call__(self) -> BigramModel:
        self.count += 1
        if self.count <= self.failures:
            raise OSError("the file is broken")
        return self.model


def test_a_model_is_loaded_when_it_is_first_asked_for_and_then_kept():
    loads = Loads()
    models = NamedModels(BigramModel(), {"other": loads})
    default = models.generate(ask("r"), lambda text: True)
    assert loads.count == 0
    texts = [models.generate(named(ask("r"), "other"), lambda text: True) for _ in range(2)]
    assert loads.count == 1
    assert texts[0] == texts[1]
    assert texts[0].model_version == loads.model.version != default.model_version == models.version
    models.close()
    assert loads.model.closed.is_set()


def test_a_model_that_does_not_load_fails_its_request_and_is_tried_again():
    models = NamedModels(BigramModel(), {"other": Loads(failures=1)})
    with pytest.raises(StoryModelMissingError, match="the file is broken"):
        models.generate(named(ask("r"), "other"), lambda text: True)
    assert models.generate(named(ask("r"), "other"), lambda text: True).new_tokens == 20


def test_an_unknown_name_is_refused_with_the_names_there_are():
    messages = queue.Queue()
    core = WorkerCore(NamedModels(BigramModel(), {"other": Loads()}), messages.put)
    core.run(named(ask("r"), "third"))
    messages.get(timeout=20)
    refused = messages.get(timeout=20)
    core.close()
    assert isinstance(refused, Refused)
    assert refused.missing
    assert "default, other" in refused.reason


def test_two_stories_for_a_model_of_one_slot_run_one_after_the_other_and_a_waiting_one_can_be_cancelled():
    models = NamedModels(BigramModel(), {"other": Loads()})
    in_first, go_on = threading.Event(), threading.Event()

    def hold(text: str) -> bool:
        in_first.set()
        return go_on.wait(20)

    first = threading.Thread(target=models.generate, args=(named(ask("a"), "other"), hold))
    first.start()
    assert in_first.wait(20)
    waiting = models.generate(named(ask("b"), "other"), lambda text: False)
    assert (waiting.finish_reason, waiting.new_tokens) == ("cancelled", 0)
    go_on.set()
    first.join()
    assert models.generate(named(ask("c"), "other"), lambda text: True).new_tokens == 20


async def test_an_engine_says_that_the_model_is_missing_and_serves_the_next_request():
    engine = InProcessEngine(lambda: NamedModels(BigramModel(), {}))
    await engine.start()
    with pytest.raises(ModelMissingError, match="no model 'gpt'"):
        await served(engine, named(ask("a"), "gpt"))
    assert (await served(engine, ask("b"))).new_tokens == 20
    await engine.close()


async def test_a_worker_process_writes_with_the_small_gpt_and_in_a_taught_voice(tmp_path: Path):
    teach([OTHER * 20], tmp_path, "house", gpt_folder=None)
    teach(["The wolf of the north howled. " * 40], tmp_path, "77", gpt_folder=None)
    config = msgspec.structs.replace(CONFIG, data_dir=str(tmp_path))
    engine = LocalEngine([config], factory="tests.bigram_model:load")
    await engine.start()
    gpt = await served(engine, named(ask("a", "Once upon a time there was a king", max_new_tokens=40, seed=2), "gpt"))
    assert gpt.model_version.startswith("gpt-q8_0@")
    assert gpt.new_tokens > 10
    voice = await served(engine, named(ask("b", "Zorblax the", max_new_tokens=10, temperature=0), "ngram"))
    assert voice.text.startswith(" grocer")
    guild = await served(engine, named(ask("c", "The wolf of", guild="77", max_new_tokens=10, temperature=0), "ngram"))
    assert guild.text.startswith(" the north")
    assert "77@" in guild.model_version
    assert (await engine.health()).workers[0].restarts == 0
    await engine.close()
