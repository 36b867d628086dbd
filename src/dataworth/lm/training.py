"""Training: a plain loop of AdamW steps over packed sequences, the same each time it is run.

    trained = train(build(SIZES["tiny"].model, seed), stream, TrainConfig(tokens=200_000, ...))

What a run computes depends on the model's first weights, the tokens of the stream and the
configuration alone, for one version of torch on one kind of processor; checkpoints (`folder`) do
not change it, nor does being killed between them. An online mixture (`mixture`, see `lm.online`)
sets from step to step how much of each of several streams is trained on.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from dataworth.engine.device import AUTO, check_device, find_device
from dataworth.errors import ConfigError, DataworthError
from dataworth.lm.checkpoints import Checkpoints, State
from dataworth.lm.llama import CausalLM, LanguageModel
from dataworth.lm.mup import parameter_groups
from dataworth.lm.online import DomainBatches, OnlineMixture
from dataworth.lm.packing import Sequences, TokenStream, sequences
from dataworth.lm.steps import Loss, Precision, keep_memory, loss_function, numbers, threads


@dataclass(frozen=True)
class TrainConfig:
    """Options for training a model.

    tokens: trained on, rounded up to whole steps; a shorter stream is repeated.
    batch_sequences: sequences in a step; length: tokens of each, the model's context if None.
    learning_rate: the highest, reached after `warmup`, a share of the steps. schedule: then down
    to `final` of it by a half cosine, or, for "wsd", constant and down in a straight line over the
    last `decay` of the steps. weight_decay: decoupled (AdamW), of matrices. clip: largest norm of
    the gradient. z_loss: weight of the squared log of the normaliser.
    apart: a token sees only its own document. seed: the order of the sequences.
    precision: "auto" is bfloat16 where the processor multiplies it, else float32; parameters and
    the optimizer's state are float32 in any case. compile: "auto" compiles our own models where a
    C++ compiler is found and the run is long enough to gain from it (`steps.COMPILE_TOKENS`).
    threads: of torch, while training. device: auto (CUDA if there, else the CPU), cpu, cuda, cuda:1
    or mps. log_every: steps in a point of the curve.
    checkpoint_every: steps, None for the last alone. keep: all checkpoints stay, else the last.
    """

    tokens: int
    learning_rate: float
    batch_sequences: int = 4
    length: int | None = None
    warmup: float = 0.1
    schedule: Literal["cosine", "wsd"] = "cosine"
    final: float = 0.1
    decay: float = 0.2
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)
    epsilon: float = 1e-8
    clip: float = 1.0
    z_loss: float = 0.0
    apart: bool = True
    seed: int = 0
    precision: Precision = "auto"
    compile: Literal["auto"] | bool = "auto"
    threads: int = 1
    device: str = AUTO
    log_every: int = 10
    checkpoint_every: int | None = None
    keep: bool = False

    def __post_init__(self) -> None:
        whole = (self.tokens, self.batch_sequences, self.threads, self.log_every)
        given = [one for one in (self.length, self.checkpoint_every) if one is not None]
        if min(*whole, *given) < 1:
            raise ConfigError("training: tokens, batch, length, threads and steps are at least 1")
        if self.schedule not in ("cosine", "wsd"):
            raise ConfigError(f"training: schedule is cosine or wsd, not {self.schedule!r}")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ConfigError(
                f"training: precision is auto, float32 or bfloat16, not {self.precision!r}"
            )
        check_device(self.device, where="training")
        if not all(0 <= x <= 1 for x in (self.warmup, self.final, self.decay)):
            raise ConfigError("training: warmup, final and decay are shares between 0 and 1")
        if self.learning_rate <= 0 or self.clip <= 0 or min(self.weight_decay, self.z_loss) < 0:
            raise ConfigError("training: learning_rate and clip are above 0, the others not below")


@dataclass(frozen=True)
class Progress:
    """One finished step: `loss` in nats per token, `norm` of the gradient before clipping.

    `travelled`: the sum of the learning rates so far. `optimizer`: as it is now.
    """

    step: int
    steps: int
    tokens: int
    loss: float
    learning_rate: float
    norm: float
    travelled: float
    optimizer: torch.optim.AdamW


@dataclass(frozen=True)
class Trained:
    """A trained model and how it came about.

    curve: (tokens seen, mean training loss in nats per token since the point before). seconds: of
    this process, compiling included. epochs: passes over the stream. precision, compiled: as
    chosen where the configuration left it open.
    """

    model: LanguageModel
    curve: tuple[tuple[int, float], ...]
    seconds: float
    tokens_seen: int
    epochs: float
    precision: str
    compiled: bool


def schedule(config: TrainConfig, step: int, steps: int) -> float:
    """Return the factor of the learning rate at `step` (from 0) of `steps`.

    Warm-up rises in a straight line and ends at 1; the last step is the one before `final` would
    be reached, so that no step is spent at a rate of zero.
    """
    warm = round(config.warmup * steps)
    if step < warm:
        return (step + 1) / warm
    if config.schedule == "cosine":
        done = (step - warm) / max(steps - warm, 1)
        return config.final + (1 - config.final) * (1 + math.cos(math.pi * done)) / 2
    falling = max(round(config.decay * steps), 1)
    left = min((steps - step) / falling, 1.0)
    return config.final + (1 - config.final) * left


def train(
    model: LanguageModel,
    stream: TokenStream | Sequence[TokenStream],
    config: TrainConfig,
    *,
    folder: str | Path | None = None,
    on_step: Callable[[Progress], None] | None = None,
    mixture: OnlineMixture | None = None,
) -> Trained:
    """Train `model`, in place and where `config.device` says, on the stream.

    With a mixture there is a stream for each domain, of which every step draws its sequences by the
    mixture's shares of that step (`lm.online`); nothing is compiled then.

    With a folder, checkpoints with the optimizer's state are written there, the last at the end,
    and a run that finds them goes on from the newest: the result is the same, bit for bit, unless
    it goes on on another device. One that finds those of another run raises RunError with the
    difference.
    Raises ConfigError if the stream's vocabulary is larger than the model's, for several streams
    without a mixture and for a domain without tokens; DataworthError if the loss is not a number.
    """
    streams = [stream] if isinstance(stream, TokenStream) else list(stream)
    vocabulary = max((one.vocabulary for one in streams), default=0)
    if vocabulary > model.vocabulary:
        raise ConfigError(
            f"the stream has {vocabulary} tokens, the model knows {model.vocabulary}: "
            "use the model's own tokenizer"
        )
    start = time.perf_counter()
    length = config.length or model.context
    rows: Sequences | DomainBatches
    if mixture is not None:
        shape = {"length": length, "tokens": config.tokens, "batch": config.batch_sequences}
        rows = DomainBatches(streams, mixture, seed=config.seed, **shape)
    elif len(streams) == 1:
        rows = sequences(streams[0], length, config.tokens, config.seed)
    else:
        raise ConfigError("training: several streams want a mixture, which says what is drawn")
    steps = -(-len(rows) // config.batch_sequences)
    keep_memory()
    with threads(config.threads):
        run = _Run(model, config, rows, steps, streams[0].end)
        checkpoints = (
            Checkpoints(folder, _identity(model, rows, config, run.precision)) if folder else None
        )
        if checkpoints is not None:
            checkpoints.restore(run.state)
            run.restored()
        while run.state.step < steps:
            progress = run.step()
            if on_step is not None:
                on_step(progress)
            # Last: a run that goes on from a checkpoint has told of all steps that lead to it.
            if checkpoints is not None and _due(config, progress.step, steps):
                run.keep()
                checkpoints.save(run.state, keep=config.keep)
    tokens = steps * config.batch_sequences * length
    return Trained(
        model,
        tuple(run.state.curve),
        time.perf_counter() - start,
        tokens,
        tokens / sum(map(len, streams)),
        run.precision,
        run.compiled,
    )


class _Run:
    """The state of a training and what one step of it does."""

    def __init__(
        self,
        model: LanguageModel,
        config: TrainConfig,
        rows: Sequences | DomainBatches,
        steps: int,
        end: int,
    ) -> None:
        self.device = find_device(config.device)
        module = model.as_module().to(self.device).train()
        self.model, self.config, self.rows, self.steps = model, config, rows, steps
        self.end = end if config.apart else -1
        self.dtype = numbers(config.precision, self.device)
        self.precision = str(self.dtype).removeprefix("torch.")
        shape = (config.batch_sequences, rows.length)
        compiled = False if isinstance(rows, DomainBatches) else config.compile
        self.loss, self.compiled = loss_function(
            model, compiled, steps * shape[0] * shape[1], self.device
        )
        optimizer = torch.optim.AdamW(
            parameter_groups(module, config.weight_decay),
            lr=config.learning_rate,
            betas=config.betas,
            eps=config.epsilon,
            fused=True,
        )
        self.parameters = [one for one in module.parameters() if one.requires_grad]
        self.state = State(module, optimizer)
        self.rates = [config.learning_rate * schedule(config, i, steps) for i in range(steps)]
        self.travelled = list(itertools.accumulate(self.rates))

    def step(self) -> Progress:
        """Train on one batch: loss, gradient, clipping, AdamW."""
        state, config = self.state, self.config
        rate = self.rates[state.step]
        for group in state.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        nats = self._backward(state.step, rate)
        norm = nn.utils.clip_grad_norm_(self.parameters, config.clip)
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        loss = float(nats)
        if not math.isfinite(loss):
            raise DataworthError(
                f"training: the loss is {loss} at step {state.step + 1} of {self.steps}: "
                f"a lower learning rate than {config.learning_rate:g} may help"
            )
        state.step += 1
        tokens = state.step * config.batch_sequences * self.rows.length
        state.note(loss, tokens, config.log_every, last=state.step == self.steps)
        done = (state.step, self.steps, tokens, loss, rate, float(norm))
        return Progress(*done, self.travelled[state.step - 1], state.optimizer)

    def _backward(self, step: int, rate: float) -> Tensor:
        """Leave the step's gradient in the parameters, and return its mean loss in nats."""
        size, z_loss, dtype = self.config.batch_sequences, self.config.z_loss, self.dtype
        if isinstance(self.rows, DomainBatches):
            return self.rows.descend(
                self.model,
                self.parameters,
                step=step,
                steps=self.steps,
                rate=rate,
                end=self.end,
                z_loss=z_loss,
                dtype=dtype,
            )
        pair = self.rows.batch(step * size, size)
        inputs, targets = (torch.from_numpy(one).to(self.device) for one in pair)
        with torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
            loss: Loss = self.loss
            total, nats = loss(self.model, inputs, targets, self.end, z_loss, dtype)
        total.backward()  # type: ignore[no-untyped-call]
        return nats

    def keep(self) -> None:
        """Put what an online mixture has learned into the state."""
        if isinstance(self.rows, DomainBatches):
            self.state.more = self.rows.state

    def restored(self) -> None:
        """Take what an online mixture had learned from the state, if a checkpoint was found."""
        if isinstance(self.rows, DomainBatches) and self.state.step:
            self.rows.restore(self.state.more)


def _due(config: TrainConfig, step: int, steps: int) -> bool:
    return step == steps or bool(config.checkpoint_every and step % config.checkpoint_every == 0)


def _identity(
    model: LanguageModel, rows: Sequences | DomainBatches, config: TrainConfig, precision: str
) -> dict[str, object]:
    """Return all settings that determine a run's result, by which its checkpoints are compared.

    `precision`: as it was chosen, which may differ between devices; the device itself does not
    count.
    """
    settings = {**asdict(config), "precision": precision}
    for name in ("checkpoint_every", "keep", "device"):
        del settings[name]
    digest = hashlib.sha256()
    for parameter in model.as_module().parameters():
        digest.update(parameter.detach().cpu().contiguous().numpy().data)
    shape = asdict(model.config) if isinstance(model, CausalLM) else {}
    settings["betas"] = list(config.betas)
    read = rows.identity if isinstance(rows, DomainBatches) else {"stream": rows.stream.fingerprint}
    return {
        **settings,
        **read,
        "weights": digest.hexdigest(),
        "model": shape,
        "torch": torch.__version__,
    }
