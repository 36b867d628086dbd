"""`dataworth dedup`: a pool without its duplicates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from dataworth.cli.building import Result, command
from dataworth.cli.options import OUT, DryRun, Engines
from dataworth.cli.show import planned, selected
from dataworth.options.calls import (
    SCORING,
    Format,
    Pool,
    Reading,
    Running,
    Txt,
    Writing,
    option,
    same,
)

KINDS = ("exact", "near", "substring", "semantic")


@dataclass(frozen=True, kw_only=True)
class _Duplicates:
    panel: ClassVar[str] = SCORING
    kind: list[Literal["exact", "near", "substring", "semantic"]] = option(
        (), kind="names", flag="-k", metavar="KIND", shown="exact, near"
    )
    """What is a duplicate: exact (one text), near (shared shingles), substring (most bytes in long
    pieces that stand in other documents), semantic (nearly one embedding). May be given several
    times; they run in this order."""
    survives: Literal["longest", "shortest", "first"] | None = option(
        None, metavar="WHICH", shown="longest"
    )
    """Of near-duplicates, and of documents that share substrings, the longest, the shortest or the
    first one stays."""
    model: str | None = option(None, metavar="FOLDER")
    """The sentence model of semantic duplicates."""
    normalise: bool = option(False)
    """Exact copies are compared without case, accents, signs and white space."""


@dataclass(frozen=True, kw_only=True)
class _Dedup(Running):
    pool: Any = same(Pool, "pool")
    text_field: Any = same(Reading, "text_field")
    id_field: str | None = same(Reading, "id_field")
    group_by: Any = same(Reading, "group_by")
    template: str | None = same(Reading, "template")
    txt: Txt = same(Reading, "txt")
    storage_options: Any = same(Reading, "storage_options")
    format: Format | None = same(Writing, "format")


@command(_Dedup, _Duplicates, Engines, DryRun, out=OUT)
def dedup(given: dict[str, Any], *, kind: list[str], dry_run: bool, **options: Any) -> Result:
    """Write a pool without its duplicates.

    The ids of the clusters stay in the table of the run: of each document, the cluster it is in,
    and the reason why it was dropped.

    [bold]Examples[/]

    \b
    dataworth dedup pool/ --out clean/
    dataworth dedup pool/ -k exact -k near -k semantic --model minilm/ --out clean/
    """
    import dataworth
    from dataworth.flow.presets import with_options

    recipes = [dataworth.preset(f"dedup-{one}") for one in KINDS if one in (kind or KINDS[:2])]
    steps = [step for recipe in recipes for step in recipe["steps"]]
    asked = {name: value for name, value in options.items() if value}
    given = {**recipes[0], "steps": with_options(steps, asked), **given}
    return planned(given) if dry_run else selected(dataworth.select(**given))
