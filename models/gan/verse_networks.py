"""The networks of verses in torch: a generator that writes token after token, and a discriminator that reads whole
verses. Know no loss and no text.

The generator is a GRU (Cho et al. 2014) whose input and output share one table of tokens (Press and Wolf 2017). RelGAN
has a relational memory in its place; a GRU is what one CPU core can train.
"""

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional


class VerseShape(msgspec.Struct, frozen=True, kw_only=True):
    vocabulary: int
    places: int
    embedding: int = 192
    hidden: int = 384


class VerseGenerator(nn.Module):
    def __init__(self, shape: VerseShape, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.token = nn.Embedding(shape.vocabulary, shape.embedding)
        self.place = nn.Embedding(shape.places, shape.embedding)
        self.gru = nn.GRU(shape.embedding, shape.hidden, batch_first=True)
        self.out = nn.Linear(shape.hidden, shape.embedding)
        self.bias = nn.Parameter(torch.zeros(shape.vocabulary))
        self.dropout = dropout
        nn.init.normal_(self.token.weight, std=0.05)
        nn.init.normal_(self.place.weight, std=0.05)

    def forward(self, before: Tensor, places: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits (batch, length, vocabulary) of the tokens at `places` after the tokens `before`, both int64
        (batch, length), and the state (1, batch, hidden) to go on from."""
        x = functional.dropout(self.token(before) + self.place(places), self.dropout, self.training)
        hidden, state = self.gru(x, state)
        hidden = functional.dropout(hidden, self.dropout, self.training)
        return functional.linear(self.out(hidden), self.token.weight, self.bias), state


class VerseDiscriminator(nn.Module):
    """Several small readers (the multiple representations of RelGAN, section 3.3): each sees its own few dimensions of
    the tokens, through windows of 2 to 5 tokens (Kim 2014), and says its own logit."""

    def __init__(self, vocabulary: int, *, readers: int = 8, width: int = 12, filters: int = 48) -> None:
        super().__init__()
        self.readers = readers
        self.token = nn.Linear(vocabulary, readers * width, bias=False)
        self.windows = nn.ModuleList(
            nn.Conv1d(readers * width, readers * filters, size, groups=readers) for size in (2, 3, 4, 5)
        )
        self.mix = nn.Conv1d(readers * filters * 4, readers * filters, 1, groups=readers)
        # Without a bias: the relativistic loss sees only differences of logits.
        self.judge = nn.Conv1d(readers * filters, readers, 1, groups=readers, bias=False)
        nn.init.normal_(self.token.weight, std=0.1)

    def forward(self, verses: Tensor) -> Tensor:
        """Logits (batch, readers) of verses (batch, length, vocabulary), whose tokens are distributions; or of int64
        (batch, length)."""
        certain = verses.dtype == torch.int64
        seen = functional.embedding(verses, self.token.weight.T) if certain else self.token(verses)
        seen = seen.transpose(1, 2)
        found = [functional.leaky_relu(window(seen), 0.2).amax(2) for window in self.windows]
        apart = (
            torch.stack(found, 1).view(len(verses), len(found), self.readers, -1).transpose(1, 2)
        )  # (batch, readers, 4, filters)
        features = functional.dropout(apart.flatten(1).unsqueeze(2), 0.25, self.training)
        mixed = functional.leaky_relu(self.mix(features), 0.2)
        logits: Tensor = self.judge(mixed).squeeze(2)
        return logits
