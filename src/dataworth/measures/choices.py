"""Measures of multiple choice from the log probabilities of the options.

A question has options o with log p(o), the sum over its tokens of log p(token). Sources: OLMES and
DataDecide (Magnusson et al. 2025; names from their code, definitions standard) and CORE (Li et al.
2024, DCLM). Continuous measures tell small models apart where accuracy is still at chance.

    correct_prob        p(correct)
    norm_correct_prob   p(correct) / sum of p(o)
    margin              p(correct) - largest p of a wrong option
    total_prob          sum of p(o)
    accuracy            the correct option has the largest p (of k that tie, 1/k)

each on plain log p, or on log p divided by the option's tokens or characters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dataworth.errors import ConfigError

Options = Sequence[ArrayLike]
"""One array a question, [options]: log probabilities, or tokens, or characters."""

_SUFFIXES = ("", "_per_token", "_per_char")


def accuracy(log_probs: Options, correct: Sequence[int]) -> NDArray[np.float64]:
    """1 where the correct option is the likeliest, 0 where not, 1/k where k tie; float64 [n]."""

    def measure(logs: NDArray[np.float64], right: int) -> float:
        best = logs == logs.max()
        return float(best[right]) / float(best.sum())

    return _each(log_probs, correct, measure)


def correct_prob(log_probs: Options, correct: Sequence[int]) -> NDArray[np.float64]:
    """p(correct), float64 [n]."""
    return _each(log_probs, correct, lambda logs, right: math.exp(logs[right]))


def norm_correct_prob(log_probs: Options, correct: Sequence[int]) -> NDArray[np.float64]:
    """p(correct) / sum of p over the options, float64 [n]."""

    def measure(logs: NDArray[np.float64], right: int) -> float:
        shifted = np.exp(logs - logs.max())  # so that unlikely options do not all round to 0
        return float(shifted[right] / shifted.sum())

    return _each(log_probs, correct, measure)


def margin(log_probs: Options, correct: Sequence[int]) -> NDArray[np.float64]:
    """p(correct) - the largest p of a wrong option, float64 [n]."""

    def measure(logs: NDArray[np.float64], right: int) -> float:
        return math.exp(logs[right]) - math.exp(float(np.delete(logs, right).max()))

    return _each(log_probs, correct, measure)


def total_prob(log_probs: Options, correct: Sequence[int]) -> NDArray[np.float64]:
    """Sum of p over the options, float64 [n]."""
    return _each(log_probs, correct, lambda logs, _: float(np.exp(logs).sum()))


def per_length(log_probs: Options, lengths: Options) -> list[NDArray[np.float64]]:
    """log p divided by each option's length (tokens or characters, 1 at least)."""
    if len(log_probs) != len(lengths):
        raise ConfigError(f"{len(log_probs)} questions, but lengths of {len(lengths)}")
    out = []
    for question, (logs, sizes) in enumerate(zip(log_probs, lengths, strict=True)):
        a, b = np.asarray(logs, np.float64), np.asarray(sizes, np.float64)
        if a.shape != b.shape:
            raise ConfigError(f"question {question}: {a.size} options, but {b.size} lengths")
        out.append(a / np.maximum(b, 1))
    return out


def chance(log_probs: Options) -> float:
    """Return the accuracy of guessing: the mean of 1 / options. NaN without questions."""
    return float(np.mean([1 / np.size(logs) for logs in log_probs])) if len(log_probs) else math.nan


def centred(value: float, random: float) -> float:
    """Return (accuracy - chance) / (1 - chance): 0 for guessing, 1 for perfect (DCLM's CORE)."""
    return (value - random) / (1 - random)


def measures(
    log_probs: Options,
    correct: Sequence[int],
    *,
    tokens: Options | None = None,
    characters: Options | None = None,
) -> dict[str, float]:
    """The mean over questions of every measure: `accuracy`, `centred_accuracy`, `correct_prob`, ….

    With `tokens` and `characters` of the options also `accuracy_per_token`, …, and
    `accuracy_per_char`, …. Raises ConfigError for no question, a question with fewer than two
    options, a correct option that there is not, and lengths that do not fit.
    """
    if not len(log_probs):
        raise ConfigError("there is no multiple-choice question to measure")
    values: dict[str, float] = {}
    guessing = chance(log_probs)
    for suffix, lengths in zip(_SUFFIXES, (None, tokens, characters), strict=True):
        if suffix and lengths is None:
            continue
        logs = log_probs if lengths is None else per_length(log_probs, lengths)
        for function in MEASURES:
            values[function.__name__ + suffix] = float(function(logs, correct).mean())
        values[f"centred_accuracy{suffix}"] = centred(values[f"accuracy{suffix}"], guessing)
    return values


MEASURES = (accuracy, correct_prob, norm_correct_prob, margin, total_prob)


def _each(
    log_probs: Options,
    correct: Sequence[int],
    measure: Callable[[NDArray[np.float64], int], float],
) -> NDArray[np.float64]:
    """Return a measure of each question, float64 [n]."""
    if len(log_probs) != len(correct):
        raise ConfigError(f"{len(log_probs)} questions, but {len(correct)} correct options")
    out = np.empty(len(log_probs))
    for question, (options, right) in enumerate(zip(log_probs, correct, strict=True)):
        logs = np.asarray(options, np.float64)
        if logs.ndim != 1 or len(logs) < 2:
            raise ConfigError(f"question {question}: has fewer than two options")
        if not 0 <= right < len(logs):
            raise ConfigError(
                f"question {question}: the correct option is number {right}, of {len(logs)} "
                "(counted from 0)"
            )
        out[question] = measure(logs, int(right))
    return out
