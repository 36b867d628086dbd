"""The text of a swarm's folder as streams of tokens, and how its models are trained on them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dataworth.engine.files import damaged, read_parquet
from dataworth.errors import ConfigError
from dataworth.mixture.swarm import FILE, GROUP, HELD_OUT, TARGET, TARGETS, Floats, SwarmGroups

if TYPE_CHECKING:
    from dataworth.lm.llama import LanguageModel
    from dataworth.lm.model import Size
    from dataworth.lm.packing import TokenStream
    from dataworth.lm.training import TrainConfig


class SwarmText:
    """The token streams of a swarm's groups and targets, and how its models are trained."""

    def __init__(self, groups: SwarmGroups, seed: int) -> None:
        self.groups, self.seed = groups, seed
        with damaged(groups.folder / FILE):
            asked = groups.facts["swarm"]
            self._size, self.tokens = str(asked["size"]), int(asked["tokens"])

    @cached_property
    def tokenizer(self) -> Any:
        """The swarm's tokenizer."""
        from dataworth.lm.tokenizer import load_tokenizer

        return load_tokenizer(self.groups.folder / "tokenizer.json")

    @cached_property
    def streams(self) -> list[TokenStream]:
        """Return of each group the tokens that a training reads.

        Raises ConfigError for a group without any.
        """
        from dataworth.lm.packing import open_stream

        streams = []
        for number, (name, used) in enumerate(
            zip(self.groups.names, self.groups.used, strict=True)
        ):
            stream = open_stream(self.groups.folder / "tokens" / str(number))
            if not used or not len(stream):
                raise ConfigError(
                    f"{self.groups.folder}: the group {name!r} has no tokens to train on"
                )
            streams.append(_first(stream, int(used)))
        return streams

    def held_out(self, names: Sequence[str]) -> list[TokenStream]:
        """Return the held-out text of targets or groups; without names of all groups.

        Raises ConfigError for a name that the swarm does not have.
        """
        from dataworth.lm.packing import stream_of

        texts: dict[str, list[str]] = {}
        for path in (self.groups.folder / file for file in (HELD_OUT, TARGETS)):
            if path.is_file():
                table = read_parquet(path)
                with damaged(path):
                    columns = (table[name].to_pylist() for name in ("name", "text"))
                    for name, text in zip(*columns, strict=True):
                        texts.setdefault(name, []).append(text)
        full = [GROUP + name for name in self.groups.names]
        if names:
            full = [self._full(name, texts) for name in names]
        return [stream_of(texts[name], self.tokenizer) for name in full]

    def _full(self, name: str, texts: dict[str, list[str]]) -> str:
        for full in (TARGET + name, GROUP + name):
            if full in texts:
                return full
        known = ", ".join(full.partition(":")[2] for full in texts)
        raise ConfigError(
            f"the swarm has no text of {name!r}, only of {known}: run `dataworth swarm` on its "
            f"folder with --target {name}=PATH"
        )

    @property
    def preset(self) -> Size:
        """The size of the swarm's models."""
        from dataworth.lm.model import SIZES

        return SIZES[self._size]

    def model(self) -> LanguageModel:
        """Return a new model of the swarm's size."""
        from dataworth.lm.model import build

        shape = {**vars(self.preset.model), "vocabulary": self.tokenizer.get_vocab_size()}
        return build(type(self.preset.model)(**shape), self.seed)

    def config(self, tokens: int, **changes: Any) -> TrainConfig:
        """Return how a model is trained on `tokens`, 0 for as many as the swarm's models."""
        from dataworth.lm.training import TrainConfig

        options = {"batch_sequences": self.preset.batch_sequences, "seed": self.seed, **changes}
        return TrainConfig(tokens or self.tokens, self.preset.learning_rate, **options)

    def mixed(self, shares: Floats, tokens: int) -> TokenStream:
        """Return a stream that holds each group by its share, repeated if need be."""
        from dataworth.lm.packing import TokenStream

        whole = tokens or self.tokens
        amounts = zip(self.streams, shares, strict=True)
        joined = np.concatenate([np.resize(s.tokens, round(x * whole)) for s, x in amounts])
        first, ends = self.streams[0], np.array([0, len(joined)])
        mark = hashlib.sha256(joined.data).hexdigest()
        return TokenStream(joined, ends, np.zeros(1, np.int64), first.end, first.vocabulary, mark)


def _first(stream: TokenStream, count: int) -> TokenStream:
    """Return the first tokens of a stream, without regard to its documents."""
    if count >= len(stream):
        return stream
    tokens = stream.tokens[:count]
    mark = hashlib.sha256(np.ascontiguousarray(tokens).data).hexdigest()
    return replace(stream, tokens=tokens, fingerprint=mark)
