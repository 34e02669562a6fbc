"""Turns what a model decodes into a story's continuation while it streams. Knows no model, no tokenizer, no engine.

It only ever leaves away: white space and small talk at the beginning, and everything from the first place where the
text stops being the story (a turn mark, an essay, a role label, a loop, a sentence cut off by the length limit).
"""

import unicodedata
from typing import Final, Literal

from models.language import meta_talk
from models.language.boundaries import is_cjk, is_cluster_boundary, last_sentence_end, last_word_end
from models.language.loops import LoopDetector

FinishReason = Literal["end", "length", "stop", "loop", "cancelled"]

TURN_MARKS: Final = ("<|im_end|>", "<|im_start|>", "<|endoftext|>", "<start_of_turn>", "<end_of_turn>", "<|eot_id|>")


class Finisher:
    """One continuation of `story`, fed with decoded text in pieces of any size.

    What `feed` has returned so far and the text of `finish` are always prefixes of one another: text is never
    rewritten, at most taken back at its end. The way the pieces are split makes no difference.
    """

    def __init__(self, story: str, *, stop: tuple[str, ...] = (), turn_marks: tuple[str, ...] = TURN_MARKS) -> None:
        self._stops = tuple(dict.fromkeys((*stop, *turn_marks)))
        self._story_tail = story[-2_000:]
        self._habits = meta_talk.Habits(story)
        self._loops = LoopDetector(story)
        self._raw = ""  # all that was fed, without characters that no text holds
        self._start = 0  # of the story's text in _raw, after white space and small talk
        self._begun = False
        self._cut: int | None = None  # the story's end in _raw, once known
        self._emitted = 0
        self.stop_reason: FinishReason | None = None

    def feed(self, text: str) -> str:
        """Take `text` and return what may be shown now. Once `stop_reason` is set the rest is ignored: the caller may
        end the generation."""
        for character in text:
            if self.stop_reason is not None:
                break
            if _is_clean(character):
                self._step(character)
        return self._emit(self._safe_end())

    def finish(self, reason: FinishReason) -> tuple[str, FinishReason]:
        """The whole continuation and why it ends. `reason` is why the model ended, overruled by `stop_reason`. The text
        begins with the white space that belongs between it and the story and may be empty."""
        if self.stop_reason is None:
            self._begin(final=True)
            self._loops.finish()
            self._check_loop()
            if self.stop_reason is None and (cut := self._habits.cut(self._raw, self._start, final=True)) is not None:
                self._cut_at(cut, "stop")
        reason = self.stop_reason or reason
        end = len(self._raw) if self._cut is None else self._cut
        return self._joint() + self._raw[self._start : self._trimmed(end, reason)], reason

    def _step(self, character: str) -> None:
        self._raw += character
        if any(self._raw.endswith(stop) for stop in self._stops):
            stop = max((s for s in self._stops if self._raw.endswith(s)), key=len)
            self._begin(final=True)
            self._cut_at(max(self._start, len(self._raw) - len(stop)), "stop")
            return
        self._loops.feed(character)
        if not self._begun:
            self._begin(final=False)
        if self._begun:
            self._check_loop()
            if self.stop_reason is None and (cut := self._habits.cut(self._raw, self._start, final=False)) is not None:
                self._cut_at(cut, "stop")

    def _begin(self, *, final: bool) -> None:
        """Find where the story's text begins, as soon as that is certain."""
        if not self._begun:
            start = meta_talk.skip_opening(self._raw, self._story_tail, final=final)
            if start is not None:
                self._start, self._begun = start, True

    def _check_loop(self) -> None:
        if self.stop_reason is None and self._loops.start is not None:
            self._cut_at(max(self._start, self._loops.start), "loop")

    def _cut_at(self, position: int, reason: FinishReason) -> None:
        self._cut, self.stop_reason = position, reason

    def _safe_end(self) -> int:
        """Up to where _raw can be shown: nothing before it can still turn out to be a stop or an essay's first word."""
        if not self._begun:
            return 0
        if self._cut is not None:
            return self._trimmed(self._cut, self.stop_reason or "stop")
        held = self._raw[self._start :].rstrip()
        end = self._start + len(held)
        for stop in self._stops:
            for length in range(min(len(stop) - 1, len(self._raw)), 0, -1):
                if self._raw.endswith(stop[:length]):
                    end = min(end, len(self._raw) - length)
                    break
        end = min(end, self._habits.undecided(self._raw, self._start))
        while end > self._start and not is_cluster_boundary(self._raw, end, more=True):
            end -= 1
        return end

    def _emit(self, end: int) -> str:
        end = max(end, self._start)
        if end <= max(self._emitted, self._start):
            return ""
        joint = "" if self._emitted else self._joint()
        text = joint + self._raw[max(self._emitted, self._start) : end]
        self._emitted = end
        return text

    def _trimmed(self, end: int, reason: FinishReason) -> int:
        """Where the continuation ends: behind a sentence if the model was cut off, else behind the last character."""
        end = self._start + len(self._raw[self._start : end].rstrip())
        if reason in ("length", "loop"):
            sentence = last_sentence_end(self._raw, self._start, end, self._story_tail)
            if sentence is None and reason == "length":
                sentence = last_word_end(self._raw, self._start, end)
            end = end if sentence is None else sentence
        end = meta_talk.without_dangling(self._raw, self._start, end)
        while end > self._start and not is_cluster_boundary(self._raw, end, more=False):
            end -= 1
        return end

    def _joint(self) -> str:
        """The white space between the story and its continuation."""
        space = self._raw[: self._start]
        space = space[len(space.rstrip()) :]
        text = self._raw[self._start : self._start + 1]
        before = self._story_tail[-1:]
        if not text or not before or before == "\n":
            return ""
        if "\n" in space:
            return "\n\n" if space.count("\n") > 1 else "\n"
        if before.isspace() or is_cjk(before) or is_cjk(text):
            return ""
        if space or (before in ".!?…,;:" and text.isalnum()):
            return " "
        return ""


def _is_clean(character: str) -> bool:
    return character in "\n\t" or (
        character != "\ufffd" and unicodedata.category(character) not in ("Cc", "Cs", "Cn", "Co")
    )
