"""The licences of a selection, counted: by the field that is named, or by its usual names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.fields import Fields
from dataworth.flow.inspect import look_at_fields
from dataworth.results.inert import markdown
from dataworth.results.selection import Metrics

_NAMES = ("license", "licence", "licenses", "licences")
_SHOWN = 30


def _is_licence(field: str) -> bool:
    return field.rpartition(".")[2].lower() in _NAMES


def licence_counts(
    pool: Corpus, metrics: Metrics, folder: Path, shards: Sequence[str]
) -> tuple[str, dict[str | None, int]] | None:
    """Return the field and how many documents of the selection have each licence; None without.

    A field to group by counts first. Else one of the usual names in the pool's first rows, at any
    depth; then the shards that were written, `shards` in `folder`, are read once.
    """
    for item in metrics.get("composition") or []:
        if _is_licence(item["field"]):
            counts = {part["value"]: part["selection"]["documents"] for part in item["parts"]}
            if rest := item.get("rest"):
                counts["(others)"] = rest["selection"]["documents"]
            return item["field"], {value: n or 0 for value, n in counts.items() if n}
    names = [fact.name for fact in look_at_fields(pool)[1] if _is_licence(fact.name)]
    if not names or not shards:
        return None
    field = min(names, key=lambda name: name.count("."))
    fields = Fields() if pool.fields.split_words else pool.fields
    fields = replace(fields, groups=(field,), id=None)
    written = Corpus.open([folder / name for name in shards], fields=fields)
    total: Counter[str | None] = Counter()
    for unit in written.units:
        for block in written.blocks(unit):
            for item in pc.value_counts(block.documents.columns[field]).to_pylist():
                total[item["values"]] += item["counts"]
    return field, dict(total)


def licence_lines(field: str, counts: dict[str | None, int]) -> list[str]:
    """Return the lines of a card that say which licences there are, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0] or ""))
    rest = sum(count for _, count in ordered[_SHOWN:])
    rows = [("(none)" if v is None else markdown(v), count) for v, count in ordered[:_SHOWN]]
    rows += [(f"({len(ordered) - _SHOWN} others)", rest)] if rest else []
    return [
        "",
        f"Licences, by the field {markdown(field)}:",
        "",
        "| licence | documents |",
        "|---|---|",
        *(f"| {name} | {count:,} |" for name, count in rows),
    ]
