"""A story model whose window is shorter than a story, in llama.cpp: it reads the last half of its window, writes the
other half, and begins again. Made for the GPT of our own; knows nothing of how that is trained.
"""

from typing import Final

from models.language.continuation import clean
from models.language.llama_cpp import RANDOM_SEED, Generation, LlamaCppModel
from models.language.normal_form import normalise
from models.language.story_model import Emit
from models.serving.requests import StoryOutput, StoryRequest

START: Final = "<|endoftext|>"  # stood before every text in training
_CHARACTERS_A_TOKEN: Final = 8  # more than any language needs: where the search for the window begins
_NEAR: Final = 24  # characters within which a word ends


class RollingLlamaCppModel(LlamaCppModel):
    """Continues a story of any length by any number of tokens. llama.cpp's own shift of the window would keep the keys
    and values of text that is gone; here the newer half is read again, as in training. A `direction` is not read: a
    model that has only seen stories would go on with it as if it were one."""

    def _generate(self, request: StoryRequest, emit: Emit) -> StoryOutput:
        story = normalise(clean(request.story, self._template))
        if not story:
            raise ValueError("the story has no text")
        half = self.context // 2
        generation = Generation(request, emit)
        seed = request.sampling.seed
        while generation.goes_on and generation.new_tokens < request.sampling.max_new_tokens:
            written = generation.new_tokens
            generation.ask(
                self._server.handle_completions,
                self._window(story + generation.text, half),
                max_new_tokens=min(half - 1, request.sampling.max_new_tokens - written),
                seed=seed,
            )
            if generation.new_tokens == written:
                break
            seed = (seed + 1) % RANDOM_SEED  # the same random numbers again would invite the same words
        return generation.output(self.version)

    def _window(self, text: str, tokens: int) -> str:
        """The whole text behind the start token, or as much of its end as `tokens` hold."""
        tail = text[-_CHARACTERS_A_TOKEN * tokens :]
        while (count := self.count_tokens(tail)) > tokens:
            tail = tail[-max(1, len(tail) * tokens // count - 1) :]
        if len(tail) == len(text):
            return START + tail
        word_end = tail.find(" ", 0, _NEAR)
        return tail[max(word_end, 0) :]
