"""The answer to "better than random?", in a word and a sentence for each target.

Sentences are plain text; what comes from data in them is made visible, not yet escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dataworth.results import format as f
from dataworth.results.inert import visible
from dataworth.results.judgement import Target as JudgedTarget
from dataworth.results.selection import Gain, Metrics, Target, Utility

CHANCE = 1.65  # spreads above the mean that one random selection in twenty exceeds


@dataclass(frozen=True)
class Verdict:
    """The answer to "better than random?": a word, and a sentence a target."""

    word: str
    sentences: tuple[tuple[str, str], ...]  # (target, what was measured)


def beats_random(gain: Gain | None) -> bool | None:
    """Tell whether the gain is above what chance exceeds one time in twenty; `None`: not measured.

    Without random selections, a gain above zero counts.
    """
    value = f.finite(gain["value"]) if gain else None
    if gain is None or value is None:
        return None
    chance = f.finite(gain.get("random"))
    if chance is None:
        return value > 0
    return value > chance + CHANCE * (f.finite(gain.get("random_spread")) or 0)


def verdict(metrics: Metrics) -> Verdict:
    """Return whether a selection is better than random, over all targets."""
    return of_targets(metrics.get("targets"), metrics["accounting"]["kept"]["documents"])


def of_targets(
    targets: Sequence[Target] | Sequence[JudgedTarget] | None, documents: int
) -> Verdict:
    """Return whether `documents` that were kept are better than random, over all targets."""
    if not documents:
        return Verdict("Nothing kept", ())
    sentences, answers = [], []
    for target in targets or []:
        gain = target.get("gain")
        answer = beats_random(gain)
        if answer is not None and gain is not None:
            answers.append(answer)
            sentences.append((visible(target["name"], 40), in_words(gain)))
    if not answers:
        return Verdict("Not measured", ())
    if all(answers):
        word = "Yes"
    elif any(answers):
        word = f"For {sum(answers)} of {len(answers)} targets"
    else:
        word = "No"
    return Verdict(word, tuple(sentences))


def in_words(gain: Gain) -> str:
    """Format as 1.23 of 1.65 nats per word (75%), random -0.02."""
    text = f.real(gain["value"])
    bound = f.finite(gain.get("bound"))
    if bound:
        part = f" ({f.share(gain['value'], bound)})" if (f.finite(gain["value"]) or 0) > 0 else ""
        text += f" of {f.real(bound)} nats per word{part}"
    else:
        text += " nats per word"
    if f.finite(gain.get("random")) is not None:
        text += f", random {f.real(gain.get('random'))}"
    return text


def short_name(utility: Utility) -> str:
    """Return the name of a utility column in a sentence: step → target."""
    step, target = utility.get("step"), utility.get("target")
    if not step:
        return visible(utility["column"].removeprefix("utility:"), 60)
    return visible(f"{step} → {target}" if target else step, 60)
