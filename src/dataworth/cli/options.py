"""The options that only commands have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from dataworth.options.calls import RUNNING, SCORING, option

OUT = "dataworth-out"


@dataclass(frozen=True)
class FromRecipe:
    """Options out of a recipe."""

    panel: ClassVar[str] = SCORING
    recipe: str | None = option(None, metavar="NAME")
    """Options out of a recipe: c4, dclm, fineweb, gopher, nemotron, or a file; options that are
    given beside it win."""


@dataclass(frozen=True)
class Workers:
    """The option `--workers`."""

    panel: ClassVar[str] = RUNNING
    workers: int | None = option(None, flag="-w", shown="one for each core")
    """Units worked on at a time; never changes the result."""


@dataclass(frozen=True)
class Engines(Workers):
    """The options `--workers` and `--engine`."""

    engine: Literal["threads", "processes"] | None = option(None, shown="threads")
    """Kind of workers; processes suit steps in plain Python."""


@dataclass(frozen=True)
class DryRun:
    """A run that only tells."""

    panel: ClassVar[str] = RUNNING
    dry_run: bool = option(False)
    """Show what would be read and an estimate of time, memory and disk; write nothing."""


@dataclass(frozen=True)
class AsJson:
    """The option `--json`."""

    panel: ClassVar[str] = RUNNING
    json: bool = option(False)
    """Print JSON on stdout instead of the table."""


@dataclass(frozen=True)
class Shown(AsJson):
    """The options `--json` and `--quiet`."""

    quiet: bool = option(False)
    """Show nothing but errors."""
