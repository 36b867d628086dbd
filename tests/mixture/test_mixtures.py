"""Each mixture against its closed form."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataworth
from dataworth.errors import ConfigError
from dataworth.mixture.base import Groups, field_of
from dataworth.mixture.registry import MIXTURES, parse, shown

SIZES = {"web": 600.0, "books": 300.0, "code": 100.0, "none left": 0.0}


def shares(text: str, budget: float = 100, repeat: int = 1, **sizes: float) -> dict[str, float]:
    groups = Groups("domain", sizes or SIZES, budget, repeat)
    return {name: pytest.approx(share) for name, share in parse(text).fit(groups, [], None).items()}


def test_natural_uniform_and_between_them() -> None:
    assert shares("natural") == {"web": 0.6, "books": 0.3, "code": 0.1}
    assert shares("uniform") == dict.fromkeys(("web", "books", "code"), 1 / 3)
    powers = {"web": 0.6**0.3, "books": 0.3**0.3, "code": 0.1**0.3}
    total = sum(powers.values())
    assert shares("temperature(alpha=0.3)") == {n: p / total for n, p in powers.items()}
    assert shares("temperature(alpha=1)") == shares("natural")
    assert shares("temperature(alpha=0)") == shares("uniform")


def test_unimax_is_uniform_but_for_groups_that_are_too_small() -> None:
    assert shares("unimax", budget=90) == dict.fromkeys(("web", "books", "code"), 1 / 3)
    assert shares("unimax", budget=600) == {"code": 1 / 6, "books": 250 / 600, "web": 250 / 600}
    assert shares("unimax", budget=900) == {"code": 100 / 900, "books": 300 / 900, "web": 500 / 900}
    # Two passes over a group, by the choice's own repeats or by the option.
    twice = {"code": 200 / 900, "books": 350 / 900, "web": 350 / 900}
    assert shares("unimax", budget=900, repeat=2) == twice
    assert shares("unimax(epochs=2)", budget=900) == twice
    # More than all there is: each as often as it may be, which is the natural mixture.
    assert shares("unimax", budget=5000) == shares("natural")


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.floats(0, 1e9), min_size=1),
    st.floats(1, 1e9),
    st.sampled_from(["natural", "uniform", "temperature(alpha=0.3)", "unimax"]),
)
def test_shares_add_up_to_one(sizes: dict[str, float], budget: float, text: str) -> None:
    groups = Groups("domain", sizes, budget)
    if not groups.filled or not sum(groups.filled.values()) > 1e-300:
        return
    found = parse(text).fit(groups, [], None)
    assert math.fsum(found.values()) == pytest.approx(1)
    assert set(found) == set(groups.filled)


def test_fixed_shares_and_those_of_the_rest() -> None:
    whole = 'fixed(shares={"web": 0.5, "books": 0.3, "code": 0.2})'
    assert shares(whole) == {"web": 0.5, "books": 0.3, "code": 0.2}
    rest = 'fixed(shares={"code": 0.1}, unlisted=0.9)'
    assert shares(rest) == {"code": 0.1, "web": 0.6, "books": 0.3}
    third = 'fixed(shares={"web": 0.333, "books": 0.333, "code": 0.333})'
    assert shares(third) == dict.fromkeys(("web", "books", "code"), 1 / 3)
    assert parse(shown(parse(rest))) == parse(rest)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('fixed(shares={"web": 0.5})', "add up to 0.5, not to 1"),
        ('fixed(shares={"web": 1.5, "books": -0.5})', "share of 'web' is between 0 and 1"),
        ('fixed(shares={"web": 0.5, "wbe": 0.5})', "names 'wbe', which domain does not have; it"),
        ('fixed(shares={"web": 1})', "no share for 'books', 'code' of domain"),
        (
            'fixed(shares={"web": 0.4, "books": 0.3, "code": 0.2, "none left": 0}, unlisted=0.1)',
            "lists all of domain",
        ),
        ("temperature(alpha=-1)", "alpha must be a number .0 or more."),
        ("temperatur", "did you mean 'temperature'"),
    ],
)
def test_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        shares(text)


def test_the_field_is_the_only_one_or_named() -> None:
    assert field_of(parse("natural"), ["domain"]) == "domain"
    assert field_of(parse("natural(by=lang)"), ["domain", "source"]) == "lang"
    with pytest.raises(ConfigError, match=r"name it \(--group-by domain\)"):
        field_of(parse("natural"), [])
    with pytest.raises(ConfigError, match="domain, source are grouped by"):
        field_of(parse("natural"), ["domain", "source"])


def test_no_mixture_is_imported_outside_of_mixture() -> None:
    source = Path(dataworth.__file__).parent
    own = {f"dataworth.mixture.{name}" for name in MIXTURES}
    for path in source.rglob("*.py"):
        if path.parent.name != "mixture":
            tree = ast.parse(path.read_text("utf-8"))
            imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
            assert not imported & own, path
