"""The statistical model as a story model: it writes in the voice of the community that taught it. Knows no neural
network and no Discord.
"""

import time
from pathlib import Path
from typing import Final

from models.language.finisher import Finisher, FinishReason
from models.language.ngram import NGram
from models.language.normal_form import is_chinese, normalise
from models.language.story_model import Emit, StoryModelMissingError
from models.language.voice_cache import VoiceCache
from models.language.voices import CHARACTERS, find_voice
from models.serving.requests import StoryOutput, StoryRequest

CHARACTERS_A_TOKEN: Final = 4  # of an English text under a usual tokenizer; Chinese has about one


class NGramStoryModel:
    """Answers with the guild's voice, else with `champion` (the folder of a version that learned from consented
    stories), else with the house's. Of `Sampling` it honours max_new_tokens, temperature,
    top_k, top_p, seed and stop; to punish a repeated letter, as repetition_penalty would, makes no words. A
    `direction` is not read: the model knows only the last few characters."""

    slots = 2
    version = "ngram"

    def __init__(self, data_dir: Path, champion: Path | None = None) -> None:
        self._data_dir, self._champion = data_dir, champion
        self._voices: VoiceCache[NGram] = VoiceCache(NGram.load)

    def generate(self, request: StoryRequest, emit: Emit) -> StoryOutput:
        """See `StoryModel.generate`. Raises StoryModelMissingError where neither guild nor house has a voice."""
        started = time.perf_counter()
        folder = find_voice(self._data_dir, request.guild, CHARACTERS, between=self._champion)
        if folder is None:
            raise StoryModelMissingError("nothing was taught to the n-gram model yet (inkwell lm teach)")
        model = self._voices.get(folder)
        voice = folder.parent.name if folder.name == CHARACTERS else folder.name
        story = normalise(request.story)
        if not story:
            raise ValueError("the story has no text")
        sampling = request.sampling
        a_token = 1 if is_chinese(story) else CHARACTERS_A_TOKEN
        finisher = Finisher(request.story, stop=sampling.stop)
        prefilled = time.perf_counter()
        reason: FinishReason = "length"
        drawn = 0
        for piece in model.stream(
            story,
            max_symbols=a_token * sampling.max_new_tokens,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            seed=sampling.seed,
        ):
            drawn += 1
            if not emit(finisher.feed(piece)):
                reason = "cancelled"
                break
            if finisher.stop_reason is not None:
                break
        text, finish_reason = finisher.finish(reason)
        return StoryOutput(
            request_id=request.request_id,
            text=text,
            finish_reason=finish_reason,
            model_version=f"ngram-{model.order}-{voice}@{model.counts.length}",
            seed=sampling.seed,
            prompt_tokens=min(len(story), model.order - 1),
            new_tokens=-(-drawn // a_token),
            prefill_s=prefilled - started,
            decode_s=time.perf_counter() - prefilled,
        )

    def close(self) -> None:
        self._voices.clear()
