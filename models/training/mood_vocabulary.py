"""Prunes a multilingual Unigram tokenizer to the pieces that English and Chinese moods need. Knows no weights."""

import unicodedata
from collections import Counter
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
_SPACE = "▁"


def build_tokenizer(pieces: list[str], scores: list[float]) -> Tokenizer:
    """XLM-RoBERTa's tokenizer over these pieces (the first four are `SPECIAL`); a text gets <s> … </s>. Its own map of
    characters is NFKC with a few more spaces."""
    tokenizer = Tokenizer(Unigram(list(zip(pieces, scores, strict=True)), unk_id=SPECIAL.index("<unk>")))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement=_SPACE, prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", SPECIAL.index("<s>")), ("</s>", SPECIAL.index("</s>"))]
    )
    return tokenizer


def chosen_pieces(tokenizer: Tokenizer, texts: Iterable[str], *, least_count: int, most: int) -> list[int]:
    """Ids to keep, ascending: the special ones, every single character that English, Chinese or emoji may need, and the
    pieces that `texts` use at least so often, the most frequent first."""
    counts: Counter[int] = Counter()
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == 4096:
            counts.update(token for found in tokenizer.encode_batch_fast(batch) for token in found.ids)
            batch = []
    counts.update(token for found in tokenizer.encode_batch_fast(batch) for token in found.ids)
    vocabulary = tokenizer.get_vocab()
    kept = {vocabulary[piece] for piece in SPECIAL}
    kept.update(number for piece, number in vocabulary.items() if _single(piece.removeprefix(_SPACE) or piece))
    for number, count in counts.most_common():
        if count < least_count or len(kept) >= most:
            break
        kept.add(number)
    return sorted(kept)


def _single(piece: str) -> bool:
    if len(piece) != 1:
        return False
    if piece.isascii() or piece == _SPACE or "\u4e00" <= piece <= "\u9fff" or "\u3000" <= piece <= "\u303f":
        return True
    return unicodedata.category(piece) in ("So", "Sk") or "\uff00" <= piece <= "\uffef"
