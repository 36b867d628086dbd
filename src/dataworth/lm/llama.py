"""A small causal language model: the Llama architecture, written plainly.

Tokens are embedded; each block adds attention and a gated feed-forward layer to the stream, both
on its RMS-normalised values; the normalised stream is read out into logits. Positions enter by
rotation (rotary embedding). A model that is saved (`lm.storage`) loads in transformers as a
`LlamaForCausalLM` with the same logits.

With `mup_base` the model is in the maximal update parametrisation (muP; Yang et al. 2022,
arXiv 2203.03466, table 8), so that one learning rate serves all widths: see `lm.mup`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from dataworth.errors import ConfigError

MUP_HEAD = 32
"""The head size at which muP's attention, q·k/d, is scaled as the usual q·k/sqrt(d) is."""
EMBEDDING_STD = 0.1
"""Standard deviation of a new embedding (docs/lm.md says what it was chosen by)."""


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a model.

    hidden: width of the stream. heads: of attention, each hidden / heads wide, an even number.
    intermediate: width of the gated layer. context: tokens that it is trained to look back on.
    tied: the read-out is the embedding. mup_base: width that a learning rate was found at, or None
    for the standard parametrisation.
    Raises ConfigError for shapes that do not fit together.
    """

    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int = 4096
    context: int = 256
    tied: bool = True
    mup_base: int | None = None
    rope_base: float = 10_000.0
    norm_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        sizes = [self.hidden, self.heads, self.intermediate, self.vocabulary, self.context]
        sizes += [] if self.mup_base is None else [self.mup_base]
        if min(sizes) < 1 or self.layers < 0:
            raise ConfigError(f"a model's sizes are whole numbers above zero: {self}")
        if self.hidden % (2 * self.heads):
            raise ConfigError(
                f"hidden is a multiple of twice the heads: {self.hidden} is none of {self.heads}"
            )

    @property
    def head_size(self) -> int:
        """Width of one head."""
        return self.hidden // self.heads

    @property
    def parameters(self) -> int:
        """Numbers that are trained; a tied read-out counts once."""
        block = self.hidden * (4 * self.hidden + 3 * self.intermediate + 2)
        tables = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.layers * block + tables + self.hidden

    @property
    def multiplier(self) -> float:
        """The width relative to that of the muP base; 1 without muP."""
        return self.hidden / self.mup_base if self.mup_base else 1.0

    @property
    def attention_scale(self) -> float:
        """The factor that products of queries and keys are multiplied by."""
        if self.mup_base:
            return math.sqrt(MUP_HEAD) / self.head_size
        return 1 / math.sqrt(self.head_size)


class LanguageModel(Protocol):
    """A causal language model as training and evaluation use it; an `nn.Module` besides."""

    @property
    def vocabulary(self) -> int:
        """Tokens that it knows: the last axis of the logits."""
        ...

    @property
    def context(self) -> int:
        """Tokens that it is made to look back on."""
        ...

    def __call__(self, ids: Tensor, segments: Tensor | None = None) -> Tensor:
        """Return logits [batch, length, vocabulary], float, of the token after each of ids.

        Where `segments` [batch, length] is given, a token sees only those of its own segment.
        """
        ...

    def hidden(self, ids: Tensor, segments: Tensor | None = None) -> Tensor:
        """Return the last hidden states, after the final norm: [batch, length, width]."""
        ...

    def embeddings(self) -> Tensor:
        """Return the input embedding of each token: [vocabulary, width]."""
        ...

    def as_module(self) -> nn.Module:
        """Return itself, as torch knows it."""
        ...


class Norm(nn.Module):
    """Root-mean-square normalisation with a learned scale, computed in float32."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] → the same shape."""
        x = x.float()
        x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon)
        return (self.weight * x).to(self.weight.dtype)


class Attention(nn.Module):
    """Causal self-attention with rotary positions; one matrix makes queries, keys and values."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.scale = config.heads, config.attention_scale
        self.qkv = nn.Linear(config.hidden, 3 * config.hidden, bias=False)
        self.out = nn.Linear(config.hidden, config.hidden, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, bias: Tensor) -> Tensor:
        """[batch, length, hidden] → the same; `bias` is added to the scores (`attention_bias`)."""
        batch, length, width = x.shape
        shape = (batch, length, 3, self.heads, width // self.heads)
        q, k, v = self.qkv(x).view(shape).permute(2, 0, 3, 1, 4).unbind(0)
        q, k, v = rotate(q, cos, sin), rotate(k, cos, sin), v.contiguous()
        if torch.compiler.is_compiling():
            # Written out, the compiler fuses it, which for short sequences is faster than ...
            scores = (q @ k.transpose(-1, -2)).float() * self.scale + bias
            seen = scores.softmax(-1).to(v.dtype) @ v
        else:  # ... the library's own kernel, which is faster than each operation on its own.
            bias = bias.to(v.dtype)
            seen = functional.scaled_dot_product_attention(q, k, v, bias, scale=self.scale)
        out: Tensor = self.out(seen.transpose(1, 2).reshape(batch, length, width))
        return out


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (i, i + half) of the last axis by the angle of its position."""
    first, second = x.chunk(2, -1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1).to(x.dtype)


def attention_bias(segments: Tensor) -> Tensor:
    """Return the term that is added to attention's scores, float32 [batch, 1, length, length].

    Zero where a token may look: at itself and those before it in the same segment. Else so low
    that nothing is left of the score; finite, because infinity minus itself is no number.
    """
    same = (segments[:, None, :, None] == segments[:, None, None, :]).tril()
    return torch.zeros(same.shape, device=segments.device).masked_fill_(~same, -1e30)


class FeedForward(nn.Module):
    """down(silu(gate) * up); one matrix makes gate and up."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_up = nn.Linear(config.hidden, 2 * config.intermediate, bias=False)
        self.down = nn.Linear(config.intermediate, config.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., hidden] → the same shape."""
        gate, up = self.gate_up(x).chunk(2, -1)
        out: Tensor = self.down(functional.silu(gate) * up)
        return out


class Block(nn.Module):
    """Attention, then feed-forward, each added to the stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = Norm(config.hidden, config.norm_epsilon)
        self.attention = Attention(config)
        self.feed_norm = Norm(config.hidden, config.norm_epsilon)
        self.feed = FeedForward(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, bias: Tensor) -> Tensor:
        """[batch, length, hidden] → the same."""
        x = x + self.attention(self.attention_norm(x), cos, sin, bias)
        out: Tensor = x + self.feed(self.feed_norm(x))
        return out


class CausalLM(nn.Module):
    """The model. Its parameters are float32; `build` sets them."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocabulary, config.hidden)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = Norm(config.hidden, config.norm_epsilon)
        self.read_out = None if config.tied else nn.Linear(config.hidden, config.vocabulary, False)
        exponents = torch.arange(0, config.head_size, 2, dtype=torch.float32) / config.head_size
        self.register_buffer("frequencies", config.rope_base**-exponents, persistent=False)

    @property
    def vocabulary(self) -> int:
        """Tokens that it knows."""
        return self.config.vocabulary

    @property
    def context(self) -> int:
        """Tokens that it is trained to look back on."""
        return self.config.context

    @property
    def read_out_weight(self) -> Tensor:
        """The matrix of the read-out, [vocabulary, hidden]."""
        return self.embed.weight if self.read_out is None else self.read_out.weight

    def forward(self, ids: Tensor, segments: Tensor | None = None) -> Tensor:
        """Return logits [batch, length, vocabulary]; see `LanguageModel`."""
        return functional.linear(self.hidden(ids, segments), self.read_out_weight)

    def hidden(self, ids: Tensor, segments: Tensor | None = None) -> Tensor:
        """Return the input of the read-out, [batch, length, hidden]; see `LanguageModel`."""
        segments = torch.zeros_like(ids[:1]) if segments is None else segments
        return self.stream(ids, attention_bias(segments))

    def stream(self, ids: Tensor, bias: Tensor) -> Tensor:
        """Compute `hidden` with a `bias` from `attention_bias`."""
        places = torch.arange(ids.shape[1], device=ids.device, dtype=torch.float32)
        angles = torch.outer(places, cast(Tensor, self.frequencies))
        cos, sin = angles.cos(), angles.sin()
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x, cos, sin, bias)
        out: Tensor = self.norm(x)
        return out / self.config.multiplier if self.config.mup_base else out

    def embeddings(self) -> Tensor:
        """Return the input embedding of each token."""
        return self.embed.weight

    def as_module(self) -> nn.Module:
        """Return itself."""
        return self


def build(config: ModelConfig, seed: int = 0) -> CausalLM:
    """Build a new model; its parameters depend on `config` and `seed` alone.

    Matrices are normal with variance 1 / fan-in, but those that write to the stream are zero, so
    that at first the stream is the embedding. The embedding has standard deviation
    `EMBEDDING_STD`, and so has a read-out of its own, which starts at zero under muP.
    """
    model = CausalLM(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim < 2:
                continue
            std = 1 / math.sqrt(parameter.shape[1])
            if name.startswith(("embed", "read_out")):
                std = EMBEDDING_STD
            if name.endswith(("out.weight", "down.weight")) and name.startswith("blocks"):
                std = 0.0
            if name.startswith("read_out") and config.mup_base:
                std = 0.0
            # Drawn even where nothing is used of it: the same seed, the same other matrices.
            parameter.normal_(0.0, 1.0, generator=generator).mul_(std)
    return model
