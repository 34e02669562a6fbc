"""Tokenizers of our own: byte-level BPE and single characters. Knows no model; all is the `tokenizers` library's.

Both map any text to numbers and back without loss, except that the character tokenizer has one symbol for all
characters that its training text lacked.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import chain

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from models.language.text_splits import LLAMA_CPP_SPLITS

END_OF_TEXT = "<|endoftext|>"  # id 0: stands before every document and so also ends it
UNKNOWN = "<|unknown|>"

# Words take their leading space and their contractions along ("don't"); no cut falls within a run of Chinese.
# Of the cuts that llama.cpp knows it is the one that suits stories best, and a GPT must also run there.
SPLIT = "gpt-4o"


def train_bpe(texts: Iterable[str], size: int) -> Tokenizer:
    """Byte-level BPE (Sennrich et al. 2016) with `size` entries, 256 of them single bytes: nothing is unknown.
    Deterministic. Raises ValueError below 257 entries."""
    if size < 257:
        raise ValueError(f"a byte-level dictionary needs at least 257 entries, not {size}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA_CPP_SPLITS[SPLIT]), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def train_characters(texts: Iterable[str], min_count: int = 2) -> Tokenizer:
    """One entry per character that occurs at least `min_count` times, most frequent first, ties by code point."""
    counts = Counter(chain.from_iterable(texts))
    chosen = sorted((each for each, count in counts.items() if count >= min_count), key=lambda c: (-counts[c], c))
    vocabulary = {token: number for number, token in enumerate([END_OF_TEXT, UNKNOWN, *chosen])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, special=True), AddedToken(UNKNOWN, special=True)])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer
