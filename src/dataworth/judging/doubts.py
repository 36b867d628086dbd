"""What a person should know before trusting a selection, in words."""

from __future__ import annotations

from collections.abc import Iterator

from dataworth.report.findings import CHANCE
from dataworth.report.judgement_model import Contamination, Metrics, Target

_SMALL = 20_000  # bytes of a target, below which its n-grams are few
_MANY = 0.01  # share of copies that is worth a warning
_FEW = 0.01  # effective sample size, as a share of the documents


def warnings(metrics: Metrics) -> list[str]:
    """Reasons for distrust, the gravest first."""
    selection = metrics["selection"]
    if not selection["documents"]:
        return ["Nothing was selected: there is nothing to measure."]
    found: list[str] = []
    for check in metrics.get("contamination", []):
        found += _contaminated(check)
    found += _pool(metrics)
    for target in metrics.get("targets", []):
        found += _target(target)
    found += _copies(metrics)
    for utility in metrics.get("utilities", []):
        size, of = utility.get("effective_sample_size"), utility.get("effective_of")
        if size is not None and of and size < _FEW * of:
            found.append(
                f"The weights of {utility['column'].removeprefix('utility:')} rest on about "
                f"{size:,.0f} of {of:,} documents: sampling by them is close to taking the best."
            )
    return found


def _pool(metrics: Metrics) -> Iterator[str]:
    pool, distinct = metrics.get("pool"), metrics["selection"]["distinct"]
    found = None if pool is None else pool.get("found")
    if found is None or found == distinct:
        return
    missing = "None" if not found else f"Only {found:,}"
    yield (
        f"{missing} of the {distinct:,} different documents of the selection "
        f"{'is' if found == 1 else 'are'} in the pool: is it the one that was selected from, read "
        "by the same text field? Texts that were changed since then count as missing."
    )


def _contaminated(check: Contamination) -> Iterator[str]:
    held, exact = check.get("held") or 0, check.get("exact") or 0
    if not held and not exact:
        return
    said = f"{held:,} of {check['documents']:,}"
    equal = f" ({exact:,} to the letter)" if exact else ""
    yield (
        f"The selection holds {said} documents of the validation set {check['name']} by half or "
        f"more{equal}: a model trained on it has seen them."
    )


def _target(target: Target) -> Iterator[str]:
    name, size = target["name"], target.get("bytes")
    if size is not None and size < _SMALL:
        yield (
            f"The target {name} is small ({size:,} bytes): its n-gram distribution is rough, and "
            "so is what is measured against it."
        )
    made = target.get("gain")
    value = made.get("value") if made else None
    if made is None or value is None:
        return
    spread = made.get("random_spread") or 0.0
    if value <= CHANCE * spread:
        yield (
            f"For {name} the selection is no nearer than random documents are: gain "
            f"{value:.3f} nats per word, where random selections spread by {spread:.3f}."
        )


def _copies(metrics: Metrics) -> Iterator[str]:
    made = metrics.get("duplicates")
    if made is None:
        return
    if made["exact_share"] > _MANY and not made.get("intended"):
        yield (
            f"{made['exact']:,} documents ({made['exact_share']:.1%}) have a text that came before "
            "in the selection."
        )
    near = made.get("near_share")
    if near is not None and near > _MANY:
        yield f"{made.get('near'):,} texts ({near:.1%}) are nearly a text that came before."


def notes(metrics: Metrics) -> list[str]:
    """What is good to know."""
    found = []
    selection, targets = metrics["selection"], metrics.get("targets", [])
    if selection["kind"] == "files" and any(
        (made := target.get("gain")) and made.get("held_out") for target in targets
    ):
        found.append(
            "The held-out half of a target is the one of seed "
            f"{metrics.get('seed', 0)}. If the selection was made with all of the target, measure "
            "it on other text (--validation NAME=PATH)."
        )
    if not targets:
        found.append("No target: nothing here says how near the selection is to what it is for.")
    if not metrics.get("contamination"):
        found.append("No validation set: contamination was not looked for.")
    if metrics.get("pool") is None:
        found.append("No pool: nothing is compared with what was there to choose from.")
    return found
