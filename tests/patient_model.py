"""The story model that a worker loads by itself, a real one, held back to a hundred pieces of text a second: a test can
act in the middle of a story however busy the machine is. Knows no engine.
"""

import time

from models.language.story_model import Emit, StoryModel
from models.serving.model_loading import load_story_model
from models.serving.requests import StoryOutput, StoryRequest
from models.serving.wire import WorkerConfig


class PatientModel:
    def __init__(self, model: StoryModel) -> None:
        self._model = model
        self.version, self.slots = model.version, model.slots

    def generate(self, request: StoryRequest, emit: Emit) -> StoryOutput:
        def slowly(text: str) -> bool:
            time.sleep(0.01)
            return emit(text)

        return self._model.generate(request, slowly)

    def close(self) -> None:
        self._model.close()


def load(config: WorkerConfig) -> PatientModel:
    return PatientModel(load_story_model(config))
