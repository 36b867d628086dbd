"""Covered parameters, and the terms that each call of a module adds to their gradients.

For one call of a module, with input `a` and the gradient `g` of the loss in its output, the
gradient of a weight is a sum over positions of outer products, row side times column side:

    Linear, Conv1D of Hugging Face    g (x) a           the bias: g (x) 1, as the last column
    Conv1d, Conv2d                    g (x) patch of a
    Embedding                         one-hot(id) (x) g
    LayerNorm, RMSNorm                (g * normalised a) (x) 1,  the bias g (x) 1

A parameter that no module of these kinds holds is refused by name.
"""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from dataworth.errors import ConfigError, InputError
from dataworth.features.gradients.blocks import Block, Blocks, Piece, columns_of, told

LINEAR, TRANSPOSED, CONVOLUTION, EMBEDDING, NORM = "linear", "transposed", "conv", "table", "norm"


class ApartError(InputError):
    """A module of which it is not known whose positions it sees: examples are to be run alone."""


@dataclass(frozen=True)
class Use:
    """A module that uses blocks: the one of its weight and, if it is not there too, its bias'."""

    name: str
    kind: str
    weight: int | None
    bias: int | None

    @property
    def folded(self) -> bool:
        """True if the bias is the last column of the weight's block."""
        return self.weight is not None and self.weight == self.bias

    def trailing(self, module: nn.Module) -> int:
        """Return the number of dimensions of the module's input that are no positions."""
        if self.kind == NORM:
            return int(module.weight.dim())  # type: ignore[operator]
        if self.kind == CONVOLUTION:
            return 3 if isinstance(module, nn.Conv2d) else 2
        return 0 if self.kind == EMBEDDING else 1


@dataclass(frozen=True, eq=False)
class Call:
    """One module call's contribution to one block's gradient, as outer products.

    `left`: the row side [n, positions, rows], or int64 [n, positions]: the row of a one. `right`:
    the column side [n, positions, columns]; None for one column of ones. `placed`: whether they are
    the positions of the sequence.
    """

    module: str
    left: Tensor
    right: Tensor | None
    placed: bool = True

    @property
    def positions(self) -> int:
        """Positions in it."""
        return self.left.shape[1]


def kind_of(module: nn.Module) -> str | None:
    """Return the kind of a module, None for those that are not covered."""
    if isinstance(module, nn.Linear):
        return LINEAR
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        return CONVOLUTION
    if isinstance(module, nn.Embedding):
        return EMBEDDING
    name = type(module).__name__
    # Any normalisation that scales its last axis: LlamaRMSNorm, GemmaRMSNorm and their like.
    if name.endswith("Norm") and not isinstance(module, nn.GroupNorm):
        return NORM
    if name == "Conv1D" and getattr(module, "weight", torch.empty(0)).dim() == 2:
        return TRANSPOSED
    return None


def _refusal(name: str, module: nn.Module) -> str | None:
    """Describe, for a message, a module whose parameters cannot be covered; None for others."""
    if kind_of(module) is None:
        return f"{told(name)} ({type(module).__name__})"
    odd = {key for key, _ in module.named_parameters(recurse=False)} - {"weight", "bias"}
    if odd:
        return f"{told(name)} ({type(module).__name__} with {', '.join(sorted(odd))})"
    if isinstance(module, nn.Embedding) and (module.max_norm or module.scale_grad_by_freq):
        return f"{told(name)} (Embedding with max_norm or scale_grad_by_freq)"
    return None


def _chosen(model: nn.Module, patterns: Sequence[str] | None) -> list[tuple[str, nn.Module]]:
    """Return the modules that hold trained parameters themselves and fit a pattern."""
    held = [
        (name, module)
        for name, module in model.named_modules()
        if any(p.requires_grad for p in module.parameters(recurse=False))
    ]
    if patterns is None:
        return held
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(name, pattern) for name, _ in held):
            raise ConfigError(
                f"no module with trained parameters fits {pattern!r}; there are "
                + ", ".join(told(name) for name, _ in held[:8])
            )
    return [pair for pair in held if any(fnmatch.fnmatchcase(pair[0], p) for p in patterns)]


class _Builder:
    """Blocks and uses, as modules are met."""

    def __init__(self, biases: Counter[int]) -> None:
        self.biases = biases  # in how many of the modules each bias is
        self.blocks: list[Block] = []
        self.uses: list[Use] = []
        self.at: dict[int, int] = {}  # of a parameter's id: its block
        self.start = 0

    def _add(
        self, name: str, rows: int, columns: int, weight: Piece, bias: Piece | None = None
    ) -> int:
        block = Block(name, self.start, rows, columns, weight, bias)
        self.blocks.append(block)
        self.start += block.size
        return len(self.blocks) - 1

    def _vector(self, name: str, parameter: Tensor) -> int:
        key = id(parameter)
        if key not in self.at:
            piece = Piece(name, tuple(parameter.shape))
            self.at[key] = self._add(name, parameter.numel(), 1, piece)
        return self.at[key]

    def add(self, name: str, module: nn.Module) -> None:
        kind = kind_of(module)
        assert kind is not None
        prefix = f"{name}." if name else ""
        held = dict(module.named_parameters(recurse=False))
        weight, bias = (
            held[key] if key in held and held[key].requires_grad else None
            for key in ("weight", "bias")
        )
        at_weight = at_bias = None
        if weight is not None and kind == NORM:
            at_weight = self._vector(f"{prefix}weight", weight)
        elif weight is not None and id(weight) in self.at:
            at_weight = self.at[id(weight)]
            if self.blocks[at_weight].weight.transposed != (kind == TRANSPOSED):
                raise ConfigError(
                    f"{name} shares its weight with {self.blocks[at_weight].name}, which reads it "
                    "the other way round: freeze it or leave one of them out"
                )
        elif weight is not None:
            shape = tuple(weight.shape)
            turned = kind == TRANSPOSED
            piece = Piece(f"{prefix}weight", shape, turned)
            rows = shape[1] if turned else shape[0]
            columns = shape[0] if turned else columns_of(shape)
            folded = None
            if bias is not None and self.biases[id(bias)] == 1:
                folded = Piece(f"{prefix}bias", tuple(bias.shape))
                columns += 1
            at_weight = self._add(name, rows, columns, piece, folded)
            self.at[id(weight)] = at_weight
            at_bias = None if folded is None else at_weight
        if bias is not None and at_bias is None:
            at_bias = self._vector(f"{prefix}bias", bias)
        self.uses.append(Use(name, kind, at_weight, at_bias))


def cover(model: nn.Module, patterns: Sequence[str] | None) -> tuple[Blocks, list[Use]]:
    """Return the blocks of a model's trained parameters, and the modules that use them.

    Raises ConfigError that names the modules whose parameters are trained but not covered, if they
    were asked for.
    """
    chosen = _chosen(model, patterns)
    if not chosen:
        raise ConfigError("the model has no trained parameters: set requires_grad on some")
    refused = [reason for name, module in chosen if (reason := _refusal(name, module))]
    if refused:
        raise ConfigError(
            f"no per-example gradients for {'; '.join(refused[:5])}"
            + (f" and {len(refused) - 5} more" if len(refused) > 5 else "")
            + ". Covered are Linear, Conv1D, Conv1d, Conv2d, Embedding, LayerNorm and RMSNorm: "
            "freeze the parameters (requires_grad_(False)) or name the modules to take"
        )
    # A module that several parents hold is listed once; a parameter of several modules more often.
    biases = Counter(
        id(module.bias)
        for _, module in chosen
        if isinstance(getattr(module, "bias", None), nn.Parameter)
    )
    builder = _Builder(biases)
    for name, module in chosen:
        builder.add(name, module)
    return Blocks(builder.blocks), builder.uses


def _by_example(name: str, value: Tensor, examples: int, trailing: int) -> Tensor:
    """Reshape `value` to [n, positions, *trailing dimensions]."""
    tail = value.shape[value.dim() - trailing :]
    lead = value.shape[: value.dim() - trailing]
    if not lead or lead[0] % examples:
        raise ApartError(
            f"{name} works on {tuple(value.shape)}: its first dimension does not hold the batch's "
            f"{examples} examples, so its gradient cannot be told apart by example"
        )
    return value.reshape(examples, -1, *tail)


def calls_of(
    use: Use, module: nn.Module, value: Tensor, grad: Tensor, examples: int
) -> list[tuple[int, Call]]:
    """Return the terms of one call of `module` on `value`, by block; `grad`: in its output."""
    if use.kind == EMBEDDING:
        ids = _by_example(use.name, value, examples, 0).long()
        right = _by_example(use.name, grad, examples, 1)
        padding = module.padding_idx
        if padding is not None:
            assert isinstance(padding, int)
            right = right * (ids != padding).unsqueeze(-1)
        assert use.weight is not None
        return [(use.weight, Call(use.name, ids, right))]
    if use.kind == NORM:
        grad = _by_example(use.name, grad, examples, module.weight.dim()).flatten(2)  # type: ignore[operator]
        calls = []
        if use.weight is not None:
            scaled = _normalised(module, value)
            scaled = _by_example(use.name, scaled, examples, module.weight.dim()).flatten(2)  # type: ignore[operator]
            calls.append((use.weight, Call(use.name, grad * scaled, None)))
        if use.bias is not None:
            calls.append((use.bias, Call(use.name, grad, None)))
        return calls
    if use.kind == CONVOLUTION:
        left, right = _convolution(use.name, module, value, grad, examples)
    else:
        left = _by_example(use.name, grad, examples, 1)
        right = _by_example(use.name, value, examples, 1)
    calls = []
    if use.weight is not None:
        if use.folded:
            right = torch.cat([right, right.new_ones(*right.shape[:-1], 1)], -1)
        calls.append((use.weight, Call(use.name, left, right)))
    if use.bias is not None and not use.folded:
        calls.append((use.bias, Call(use.name, left, None)))
    return calls


def _normalised(module: nn.Module, value: Tensor) -> Tensor:
    """Return the factor of a normalisation's weight; the engine checks that it is so."""
    if isinstance(module, nn.LayerNorm):
        return functional.layer_norm(value, module.normalized_shape, None, None, module.eps)
    if isinstance(module, nn.RMSNorm):
        return functional.rms_norm(value, module.normalized_shape, None, module.eps)
    # Others may scale by the weight or by 1 + weight, in a precision of their own.
    weight = module.weight
    assert isinstance(weight, Tensor)
    with torch.no_grad():
        one: Tensor = functional_call(module, {"weight": torch.ones_like(weight)}, value)
        none: Tensor = functional_call(module, {"weight": torch.zeros_like(weight)}, value)
    return one - none


def _convolution(
    name: str, module: nn.Module, value: Tensor, grad: Tensor, examples: int
) -> tuple[Tensor, Tensor]:
    """Return a convolution's sides [n, groups * places, out], [n, groups * places, in * size].

    A group is taken as places of its own, at which the other groups' outputs have no gradient.
    """
    assert isinstance(module, nn.Conv1d | nn.Conv2d)
    if grad.shape[0] != examples:
        raise ApartError(
            f"{name} works on {grad.shape[0]} images for a batch of {examples} examples, so its "
            "gradient cannot be told apart by example"
        )
    flat = isinstance(module, nn.Conv1d)
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    value = functional.pad(value, module._reversed_padding_repeated_twice, mode=mode)
    kernel, stride, dilation = module.kernel_size, module.stride, module.dilation
    if flat:
        value = value.unsqueeze(2)
        kernel, stride, dilation = (1, *kernel), (1, *stride), (1, *dilation)
    patches = functional.unfold(value, kernel, dilation=dilation, stride=stride)
    left = grad.flatten(2).transpose(1, 2)
    groups = module.groups
    if groups == 1:
        return left, patches.transpose(1, 2)
    n, _, places = patches.shape
    parts = patches.reshape(n, groups, -1, places).transpose(2, 3)
    out = left.new_zeros(examples, groups, left.shape[1], left.shape[2])
    width = left.shape[2] // groups
    for group in range(groups):
        span = slice(group * width, (group + 1) * width)
        out[:, group, :, span] = left[..., span]
    return out.flatten(1, 2), parts.flatten(1, 2)
