"""Method 3's class-conditional language model as a member of the default: the log ratios of its classes, as the trained
tiers give log odds. Knows nothing of the bag of words beside it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.sentiment.naive_bayes import CorpusLanguage, batch_of, load_naive_bayes, model_scores
from models.sentiment.scorer import Prepared, Scores

_TEXTS_AT_ONCE = 512


class LanguageModelScorer:
    """How much likelier one class would have written the whole text: what single features, weighed apart, don't know.
    Raises ShortModelMissingError where naive Bayes's tables aren't in `folder`."""

    def __init__(self, folder: Path) -> None:
        method = load_naive_bayes(folder)
        self._tables = method.tables
        self.version = method.version.replace("naive_bayes", "language_model")

    def score(self, texts: Sequence[Prepared], *, explain: bool = True) -> Scores:
        logits = np.zeros((len(texts), 2))
        languages: tuple[CorpusLanguage, ...] = ("en", "zh")
        for language in languages:
            own = [n for n, text in enumerate(texts) if text.language == language]
            for at in range(0, len(own), _TEXTS_AT_ONCE):
                some = own[at : at + _TEXTS_AT_ONCE]
                logits[some] = model_scores(self._tables[language], batch_of([texts[n].reading for n in some]))
        return Scores(logits=logits, evidence=[()] * len(texts), notes=[()] * len(texts))
