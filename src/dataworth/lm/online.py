"""The hook of online mixtures: shares of domains that follow what a training sees of them.

    train(model, streams, config, mixture=mixture)      # a stream of tokens for each domain

In each step the trainer asks the mixture for the shares `weights()`, draws the step's sequences of
the domains by them, shows it their losses (and, where it asks for them, the inner products of the
domains' gradients) by `observe(seen)`, and descends the loss with the factors that it returns. What
the mixture has learned lies in `state`, which checkpoints keep: a run that goes on from one is the
same, bit for bit.

    class Constant:
        gradients, probes, state = False, (), {}

        def identity(self):
            return "constant"

        def weights(self):
            return np.array([0.7, 0.3])

        def observe(self, seen):
            return None
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dataworth.corpus.uid import hash_uid
from dataworth.errors import ConfigError
from dataworth.lm.llama import LanguageModel
from dataworth.lm.packing import Sequences, TokenStream, sequences
from dataworth.lm.steps import document_segments

_STREAM = 0x6D69_7865  # of `hash_uid`
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Seen:
    """The losses and gradients of k domains in one step, before it is descended.

    step: from 0, of `steps`. domain: int64 [b], of each sequence; inputs, targets: int64 [b, t];
    nats: float32 [b, t], the loss of each token, without gradient. counts: int64 [k], sequences of
    each domain; drawn: int64 [k], those of this step and all before. losses: float64 [k], nats per
    token, NaN for a domain that the step has not drawn. gram: float64 [k + p, k + p], the inner
    products of the gradients of these losses and of those of p probes, NaN likewise; None unless
    the mixture asks for gradients.
    """

    step: int
    steps: int
    learning_rate: float
    domain: Ints
    inputs: Tensor
    targets: Tensor
    nats: Tensor
    counts: Ints
    drawn: Ints
    losses: Floats
    gram: Floats | None

    def mean(self, values: Tensor) -> Floats:
        """Return the mean of values [b, t] over each domain's tokens, float64 [k], NaN for none."""
        return _mean(values, self.domain, self.counts)


class OnlineMixture(Protocol):
    """A rule that sets the shares of the next step from the losses or gradients of the last.

    gradients: it reads `Seen.gram`, for which the trainer computes each domain's gradient apart.
    probes: streams of which every step draws one sequence for the gradient alone, such as a target;
    none without `gradients`. state: arrays by name, all that it has learned, which `observe`
    changes; the trainer fills it again from a checkpoint.
    """

    gradients: bool
    probes: Sequence[TokenStream]
    state: dict[str, NDArray[Any]]

    def identity(self) -> str:
        """Return its name and options: a checkpoint of another mixture is refused."""
        ...

    def weights(self) -> Floats:
        """Return the shares by which the next step is drawn, float64 [k]."""
        ...

    def observe(self, seen: Seen) -> Floats | None:
        """Learn from a step, and return what each domain's loss is multiplied by in it, float64
        [k]; None for 1."""
        ...


def token_losses(model: LanguageModel, inputs: Tensor, targets: Tensor, end: int) -> Tensor:
    """Return the loss of each token in nats, float32 [b, t], with its gradient.

    `end` begins a new document, which sees none before it; below zero rows are one document.
    """
    return _losses(model, inputs, targets, end)[0]


def pick(weights: Floats, size: int, seed: int, step: int) -> Ints:
    """Return the domain of each of a step's `size` sequences, in rising order.

    By systematic sampling: each domain gets floor or ceil of size times its share, on average just
    that, by a hash of (seed, step). Raises ConfigError for shares that are none.
    """
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise ConfigError(f"an online mixture gave shares that are none: {weights.tolist()}")
    word = hash_uid(seed, np.array([step], np.uint64), _STREAM)[0] >> np.uint64(11)
    ends = np.cumsum(weights)
    points = (np.arange(size) + float(word) * 2.0**-53) / size
    return np.searchsorted(ends / ends[-1], points, side="right").astype(np.int64)


class DomainBatches:
    """The batches of a training on several streams, and the gradient of each."""

    def __init__(
        self,
        streams: Sequence[TokenStream],
        mixture: OnlineMixture,
        *,
        length: int,
        tokens: int,
        batch: int,
        seed: int,
    ) -> None:
        empty = [number for number, stream in enumerate(streams) if not len(stream)]
        if not streams or empty:
            raise ConfigError(f"an online mixture: domain {empty[0] if empty else 0} has no tokens")
        self.mixture, self.length, self.seed, self.size = mixture, length, seed, batch
        self.streams = streams
        self.rows = [sequences(one, length, tokens, seed) for one in streams]
        self.probes = [sequences(one, length, tokens, seed) for one in mixture.probes]
        self.drawn = np.zeros(len(streams), np.int64)

    def __len__(self) -> int:
        return self.rows[0].count

    @property
    def identity(self) -> dict[str, Any]:
        """Fingerprints of the streams and the mixture, equal for trainings that draw alike."""
        marks = [one.fingerprint for one in (*self.streams, *self.mixture.probes)]
        return {"domains": marks, "mixture": self.mixture.identity()}

    @property
    def state(self) -> dict[str, Tensor]:
        """All that a checkpoint keeps of it."""
        arrays = {**self.mixture.state, "drawn": self.drawn}
        return {name: torch.from_numpy(np.asarray(one).copy()) for name, one in arrays.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what a checkpoint kept."""
        arrays = {name: one.numpy().copy() for name, one in state.items()}
        self.drawn = arrays.pop("drawn")
        self.mixture.state.update(arrays)

    def descend(
        self,
        model: LanguageModel,
        parameters: Sequence[nn.Parameter],
        *,
        step: int,
        steps: int,
        rate: float,
        end: int,
        z_loss: float,
        dtype: torch.dtype,
    ) -> Tensor:
        """Leave the gradient of a step in the parameters, and return its mean loss in nats."""
        device = parameters[0].device
        domain = pick(self.mixture.weights(), self.size, self.seed, step)
        pairs = [self._next(number) for number in domain]
        inputs, targets = _joined(pairs, device)

        def losses(rows: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                nats, norms = _losses(model, rows, wanted, end)
            return nats, nats + z_loss * norms.square() if z_loss else nats

        counts = np.bincount(domain, minlength=len(self.rows))
        there = np.flatnonzero(counts)
        gram = vectors = None
        if self.mixture.gradients:
            masks = [torch.from_numpy(domain == k).to(device) for k in there]
            batches = [(inputs[mask], targets[mask]) for mask in masks]
            batches += [_joined([probe.batch(step, 1)], device) for probe in self.probes]
            pieces = [_gradient(losses(*batch), parameters) for batch in batches]
            nats = torch.cat([own for own, _ in pieces[: len(there)]])
            vectors = torch.stack([vector for _, vector in pieces])
            gram = np.full((len(counts) + len(self.probes),) * 2, np.nan)
            known = np.r_[there, len(counts) + np.arange(len(self.probes))]
            gram[np.ix_(known, known)] = (vectors @ vectors.T).double().cpu().numpy()
        else:
            nats, descended = losses(inputs, targets)
        plain = nats.detach()
        facts = (inputs, targets, plain, counts, self.drawn.copy(), _mean(plain, domain, counts))
        factors = self.mixture.observe(Seen(step, steps, rate, domain, *facts, gram))
        scale = np.ones(len(counts)) if factors is None else factors
        if vectors is None:
            rows = torch.from_numpy(scale[domain]).to(descended)
            (descended * rows[:, None]).mean().backward()  # type: ignore[no-untyped-call]
        else:
            shares = torch.from_numpy((scale * counts)[there] / self.size).to(vectors)
            _set_gradient(parameters, shares @ vectors[: len(there)])
        return plain.mean()

    def _next(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rows: Sequences = self.rows[number]
        self.drawn[number] += 1
        return rows.batch(int(self.drawn[number]) - 1, 1)


def _set_gradient(parameters: Sequence[nn.Parameter], vector: Tensor) -> None:
    """Put a vector [p] into the gradients of parameters, one after another."""
    pieces = torch.split(vector, [one.numel() for one in parameters])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.grad = piece.view_as(parameter).clone()


def _losses(
    model: LanguageModel, inputs: Tensor, targets: Tensor, end: int
) -> tuple[Tensor, Tensor]:
    """Return each token's loss and the log of its normaliser, float32 [b, t] both."""
    segments = document_segments(inputs, end) if end >= 0 else None
    logits = model(inputs, segments).float()
    norms = logits.logsumexp(-1)
    return norms - logits.gather(-1, targets[..., None])[..., 0], norms


def _gradient(
    losses: tuple[Tensor, Tensor], parameters: Sequence[nn.Parameter]
) -> tuple[Tensor, Tensor]:
    """Return each token's loss without gradient, and the gradient of the mean, [p]."""
    nats, descended = losses
    pieces = torch.autograd.grad(descended.mean(), parameters)
    return nats.detach(), torch.cat([piece.flatten() for piece in pieces])


def _joined(pairs: Sequence[tuple[Any, Any]], device: torch.device) -> tuple[Tensor, Tensor]:
    inputs, targets = (np.concatenate(some) for some in zip(*pairs, strict=True))
    return torch.from_numpy(inputs).to(device), torch.from_numpy(targets).to(device)


def _mean(values: Tensor, domain: Ints, counts: Ints) -> Floats:
    rows = values.double().mean(1).cpu().numpy()
    sums = np.bincount(domain, rows, minlength=len(counts))
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
