"""Mixtures: from what was asked for to the quotas of a choice."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dataworth.errors import ConfigError
from dataworth.flow.loading import MOST_BYTES, load_file
from dataworth.mechanism.budget import Budget, Quota
from dataworth.mechanism.cut import Group
from dataworth.methods.places import placed
from dataworth.mixture.base import NO_GROUP, Groups, Mixture, check_shares, field_of
from dataworth.mixture.registry import MIXTURES, parse, shown, written
from dataworth.table.table import Table

WITHOUT_SHARE = "of a group without a share in the mixture"
_SUFFIXES = (".yaml", ".yml", ".json", ".csv")
_UNLISTED = "unlisted"


def parse_mixture(mixture: Any, folder: Path = Path()) -> Mixture:
    """Return a mixture from a file, a mapping of groups to shares, a name, or as it is.

    `folder`: where relative paths of what a mixture learns from begin.

    Raises ConfigError for a file or a mapping that holds no shares, and for an unknown name.
    """
    if isinstance(mixture, Mapping) and not set(mixture) <= set(MIXTURES):
        return _written(mixture, "mixture")
    if is_file(mixture):
        path = Path(mixture)
        shares = _csv(path) if path.suffix.lower() == ".csv" else load_file(path, "mixture")
        return _written(shares, str(path))
    parsed: Any = parse(mixture)
    return cast(Mixture, placed(parsed, folder))


def is_file(mixture: Any) -> bool:
    """Return whether a mixture is given as a file, by its name."""
    written_out = isinstance(mixture, str) and mixture.lower().endswith(_SUFFIXES)
    return written_out or isinstance(mixture, Path)


def mixture_text(mixture: Any) -> str:
    """Return a mixture as text, with the content of its file and whole paths.

    Raises ConfigError for one that cannot be fitted, such as on a swarm that is not there.
    """
    parsed = parse_mixture(mixture)
    if hasattr(parsed, "check"):
        parsed.check()
    return shown(parsed)


def mixture_fields(mixture: Any, grouped: Sequence[str]) -> tuple[str, ...]:
    """Return the fields that are grouped by, with that of a mixture. Raises ConfigError for one
    whose field cannot be told."""
    if mixture is None:
        return tuple(grouped)
    return tuple(dict.fromkeys([*grouped, field_of(parse_mixture(mixture), grouped)]))


def mixture_quotas(
    mixture: str,
    table: Table,
    grouped: Sequence[str],
    eligible: NDArray[np.bool_],
    sizes: NDArray[np.int64],
    budget: Budget,
    max_repeat: int,
    targets: Sequence[str],
) -> tuple[str, Group, list[Quota], NDArray[np.bool_]]:
    """Return what the cut keeps a mixture by: (name, group, a quota for each group, rows without).

    `sizes` int64 [rows]: of the documents, in the budget's unit. The rows without a share, bool
    [rows], may not be chosen.
    """
    asked = parse(mixture)
    field = field_of(asked, grouped)
    if field not in table.names:
        raise ConfigError(
            f"the mixture is by the field {field!r}, which the table does not have: score with "
            f"--group-by {field}"
        )
    codes, values = table.codes(field)
    names = [NO_GROUP if value is None else value for value in values]
    held = np.bincount(codes[eligible], sizes[eligible], minlength=len(names))
    groups = Groups(
        field, dict(zip(names, held.tolist(), strict=True)), float(budget.amount), max_repeat
    )
    shares = asked.fit(groups, targets, None)
    caps = _caps({name: share for name, share in shares.items() if share > 0}, budget)
    if budget.unit != "documents":
        # One document more, lest all groups stop just short of their shares, and the whole of it.
        some = np.bincount(codes[eligible], minlength=len(names))
        means = dict(zip(names, np.ceil(held / np.maximum(some, 1)).tolist(), strict=True))
        caps = {name: cap + int(means[name]) for name, cap in caps.items()}
    whole = f"mixture {field}"
    quotas = [Quota(whole, name, Budget(max(cap, 1), budget.unit)) for name, cap in caps.items()]
    without = ~np.isin(codes, [code for code, name in enumerate(names) if name in caps])
    return whole, Group(codes, names), quotas, without


def _caps(shares: Mapping[str, float], budget: Budget) -> dict[str, int]:
    """Return whole amounts that add up to the shares' part of the budget, by largest remainders."""
    exact = {name: share * budget.amount for name, share in shares.items()}
    caps = {name: int(amount) for name, amount in exact.items()}
    left = round(sum(exact.values())) - sum(caps.values())
    for name in sorted(exact, key=lambda name: (caps[name] - exact[name], name))[: max(left, 0)]:
        caps[name] += 1
    return caps


def _written(content: Any, what: str) -> Mixture:
    if not isinstance(content, Mapping) or not content:
        raise ConfigError(f"{what}: a mixture has a line for each group, such as 'web: 0.3'")
    shares = {str(name): _share(share, str(name), what) for name, share in content.items()}
    check_shares(shares, what)
    unlisted = shares.pop(_UNLISTED, None)
    return written(shares, unlisted, what)


def _share(value: Any, name: str, what: str) -> float:
    text = str(value).strip()
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise ConfigError(
            f"{what}: the share of {name!r} is a number such as 0.3 or 30%, not {text[:40]!r}"
        ) from None


def _csv(path: Path) -> dict[str, str]:
    """Return the shares of a file of two columns, with or without a line of their names."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name a mixture") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8; write the mixture anew") from None
    shares: dict[str, str] = {}
    rows = csv.reader(io.StringIO(text, newline=""))
    for row in rows:
        if not row or (rows.line_num == 1 and row[1:] == ["share"]):
            continue
        where = f"{path}, line {rows.line_num}"
        if len(row) != 2:
            raise ConfigError(f"{where}: has {len(row)} columns, not two: group,share")
        if row[0] in shares:
            raise ConfigError(f"{where}: the group {row[0]!r} has a share already")
        shares[row[0]] = row[1]
    return shares
