"""The house voice as a story model: the GPT of our own in torch, mixed with what a community taught. Knows no Discord
and no llama.cpp (which gives out no whole distributions).
"""

import threading
import time
from pathlib import Path

from models.language.finisher import Finisher, FinishReason
from models.language.gpt import GPT
from models.language.mixture import WEIGHTS_FILE, HouseVoice
from models.language.ngram import NGram
from models.language.normal_form import normalise
from models.language.story_model import Emit, StoryModelMissingError
from models.language.token_text import TokenText
from models.language.voice_cache import VoiceCache
from models.language.voices import TOKENS, find_voice
from models.serving.requests import StoryOutput, StoryRequest


class HouseStoryModel:
    """Answers with the GPT and the guild's voice, else the house's, else with the story so far alone. One story at a
    time: the network is not thread-safe. Of `Sampling` it honours what `HouseVoice.stream` takes, and stop."""

    slots = 1

    def __init__(self, gpt: GPT, data_dir: Path, *, version: str) -> None:
        self._gpt, self._data_dir, self.version = gpt, data_dir, version
        self._voices: VoiceCache[HouseVoice] = VoiceCache(self._load)
        self._writing = threading.Lock()

    def _load(self, folder: Path) -> HouseVoice:
        ngram = NGram.load(folder)
        if ngram.tokens != self._gpt.model.config.vocab_size:
            raise StoryModelMissingError(f"{folder} was taught for another GPT: teach it again (inkwell lm teach)")
        voice = HouseVoice(self._gpt, [ngram], learns=True)
        if (folder / WEIGHTS_FILE).exists():
            voice.load_weights(folder)
        return voice

    def generate(self, request: StoryRequest, emit: Emit) -> StoryOutput:
        """See `StoryModel.generate`. Raises StoryModelMissingError where nothing was taught or for another GPT."""
        started = time.perf_counter()
        folder = find_voice(self._data_dir, request.guild, TOKENS)
        if folder is None:
            raise StoryModelMissingError("nothing was taught to the house voice yet (inkwell lm teach)")
        voice = self._voices.get(folder)
        story = normalise(request.story)
        if not story:
            raise ValueError("the story has no text")
        sampling = request.sampling
        finisher = Finisher(request.story, stop=sampling.stop)
        written = TokenText(self._gpt.tokenizer.decode)
        reason: FinishReason = "end"
        drawn = 0
        with self._writing:
            prefilled = time.perf_counter()
            for token in voice.stream(
                story,
                max_new_tokens=sampling.max_new_tokens,
                temperature=sampling.temperature,
                top_k=sampling.top_k,
                top_p=sampling.top_p,
                seed=sampling.seed,
            ):
                drawn += 1
                if not emit(finisher.feed(written.add([token]))):
                    reason = "cancelled"
                    break
                if finisher.stop_reason is not None:
                    break
            else:
                reason = "length" if drawn == sampling.max_new_tokens else "end"
        text, finish_reason = finisher.finish(reason)
        return StoryOutput(
            request_id=request.request_id,
            text=text,
            finish_reason=finish_reason,
            model_version=f"{self.version}+{folder.parent.name}@{voice.ngrams[0].counts.length}",
            seed=sampling.seed,
            prompt_tokens=len(self._gpt.encode(story)),
            new_tokens=drawn,
            prefill_s=prefilled - started,
            decode_s=time.perf_counter() - prefilled,
        )

    def close(self) -> None:
        self._voices.clear()
