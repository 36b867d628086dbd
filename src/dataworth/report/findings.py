"""What the numbers mean for the reader: is it better than random, and what to distrust.

The limits are ours, chosen to speak up rarely; each sentence gives the numbers it rests on.
Sentences are plain text; what comes from data in them is made visible, not yet escaped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dataworth.report import format as f
from dataworth.report.inert import visible
from dataworth.report.model import Gain, Metrics, Utility

FEW_TARGET_DOCUMENTS = 100
CHANCE = 1.65  # spreads above the mean that one random selection in twenty exceeds
LENGTH_CORRELATION = 0.3
EFFECTIVE_SHARE = 0.01
BAD_SHARE = 0.001
LENGTH_RATIO = 3.0
ONE_VALUE_SHARE = 0.9


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
    """Better than random, over all targets."""
    if not metrics["accounting"]["kept"]["documents"]:
        return Verdict("Nothing kept", ())
    sentences, answers = [], []
    for target in metrics.get("targets") or []:
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
    """1.23 of 1.65 nats per word (75%), random -0.02."""
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


def distrust(metrics: Metrics) -> list[str]:
    """Reasons to look twice, the run's own warnings first; empty when nothing stands out."""
    found = [visible(text, 400) for text in metrics.get("warnings") or []]
    for part in (_accounting, _targets, _weights, shape):
        found.extend(part(metrics))
    return list(dict.fromkeys(found))


def _accounting(metrics: Metrics) -> Iterator[str]:
    accounting = metrics["accounting"]
    kept = accounting["kept"]["documents"]
    if not kept:
        yield "Nothing was selected."
    budget = accounting.get("budget")
    if budget and budget.get("note"):
        yield visible(str(budget["note"]), 400)
    bad = sum((accounting.get("bad") or {}).values())
    lines = accounting["documents"] + bad
    if lines and bad / lines > BAD_SHARE:
        yield f"Set aside as bad: {f.counted(bad, 'line')} ({f.share(bad, lines)})."
    if budget and budget.get("estimated"):
        yield "Tokens are estimated (bytes / 4), not counted: no tokenizer was given."


def _targets(metrics: Metrics) -> Iterator[str]:
    targets = metrics.get("targets") or []
    if not targets:
        yield "No target was given, so nothing says how near the selection comes to one."
    if not metrics["accounting"]["kept"]["documents"]:
        return
    unknown, chance, seen, few = [], [], [], []
    for target in targets:
        name = visible(target["name"], 40)
        gain = target.get("gain")
        if gain is None or beats_random(gain) is None:
            unknown.append(name)
            continue
        if not beats_random(gain):
            chance.append(f"{name} {in_words(gain)}")
        if not gain.get("held_out"):
            seen.append(name)
        documents = gain.get("documents")
        if documents is not None and documents < FEW_TARGET_DOCUMENTS:
            few.append(f"{name} {f.count(documents)}")
    if chance:
        yield f"No nearer the target than chance. {_some(chance)}."
    if unknown:
        yield f"The gain was not measured for {_some(unknown)}."
    if seen:
        yield f"The gain was measured on the examples that chose, for {_some(seen)}."
    if few:
        yield f"The gain was measured on few target documents: {_some(few)}."


def _weights(metrics: Metrics) -> Iterator[str]:
    few, by_length = [], []
    for utility in metrics.get("utilities") or []:
        name = short_name(utility)
        effective = f.finite(utility.get("effective_sample_size"))
        whole = f.finite(utility.get("effective_of"))
        if effective is not None and whole and effective < EFFECTIVE_SHARE * whole:
            few.append(f"{name} {f.real(effective)} of {f.count(whole)}")
        correlation = f.finite(utility.get("spearman_length"))
        if correlation is not None and abs(correlation) >= LENGTH_CORRELATION:
            by_length.append(f"{name} {f.real(correlation, signed=True)}")
    if few:
        yield (
            "The sampling weights rest on few documents, so that sampling is nearly top-k. "
            f"Effective sample size: {_some(few)}."
        )
    if by_length:
        yield (
            "Utility goes with length: long documents are preferred where the correlation is "
            f"positive, short ones where it is negative. Spearman: {_some(by_length)}."
        )


def _some(items: list[str], most: int = 3) -> str:
    more = len(items) - most
    return "; ".join(items[:most]) + (f"; and {more} more" if more > 0 else "")


def shape(metrics: Metrics) -> Iterator[str]:
    """Lengths and groups that are far from those of the pool."""
    lengths = metrics.get("lengths")
    median = (lengths.get("median") if lengths else None) or {}
    before, after = f.finite(median.get("pool")), f.finite(median.get("selection"))
    if before and after and not 1 / LENGTH_RATIO < after / before < LENGTH_RATIO:
        unit = visible(str(lengths["unit"] if lengths and "unit" in lengths else "units"), 20)
        yield (
            f"The median document has {f.short(after)} {unit}, in the pool {f.short(before)}: "
            "the selection is of another length."
        )
    for composition in metrics.get("composition") or []:
        parts = composition["parts"]
        before_all = sum(part["pool"]["documents"] for part in parts)
        after_all = sum(part["selection"]["documents"] for part in parts)
        for part in parts:
            share_after = part["selection"]["documents"] / (after_all or 1)
            share_before = part["pool"]["documents"] / (before_all or 1)
            if share_after >= ONE_VALUE_SHARE and share_before < share_after / 2:
                field = visible(composition["field"], 40)
                yield (
                    f"{f.share(share_after)} of the selection is {field} "
                    f"{visible(str(part['value']), 40)} ({f.share(share_before)} of the pool)."
                )


def short_name(utility: Utility) -> str:
    """What a utility column is called in a sentence: step → target."""
    step, target = utility.get("step"), utility.get("target")
    if not step:
        return visible(utility["column"].removeprefix("utility:"), 60)
    return visible(f"{step} → {target}" if target else step, 60)
