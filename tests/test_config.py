"""Text to configuration and back: types, variants, nesting and messages."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dataworth.config import (
    build,
    describe,
    from_dict,
    parse_call,
    to_dict,
    variants,
)
from dataworth.errors import ConfigError
from dataworth.options import list_options


class Tool(Protocol):
    def work(self) -> None: ...


@dataclass(frozen=True)
class Hammer:
    weight: float = 1.0

    def work(self) -> None: ...


@dataclass(frozen=True)
class Box:
    count: int = 2
    share: float = 0.5
    label: str = "plain"
    on: bool = False
    limit: int | None = None
    mode: Literal["slow", "fast", "none"] = "slow"
    sizes: tuple[int, ...] = ()
    pair: tuple[int, str] = (1, "a")
    names: Sequence[str] = ("x",)
    rates: Mapping[str, float] | None = field(default=None, hash=False)
    either: int | float | str = 0
    file: Path | None = None
    tool: Tool = field(default_factory=Hammer)
    tools: tuple[Tool, ...] = ()
    hidden: int = field(default=7, init=False)

    @classmethod
    def reference(cls) -> Self:
        return cls(count=9, label="published")

    @classmethod
    def small_one(cls, count: int = 1) -> Box:
        return cls(count=count)

    @classmethod
    def load(cls, folder: str) -> Self:
        return cls(label=folder)

    @classmethod
    def summary(cls) -> str:
        return ""


@dataclass(frozen=True)
class Needy:
    depth: int
    width: int = 1


REGISTRY: dict[str, type[Any]] = {"box": Box, "hammer": Hammer, "needy_one": Needy}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("box", Box()),
        (" box ( ) ", Box()),
        ("box(count=3, label=\"a b, (c)='d'\", on=true)", Box(3, label="a b, (c)='d'", on=True)),
        ("box(count=1e6, share=2, on=False, limit=none)", Box(1_000_000, 2.0)),
        ("box(mode=fast, label=word)", Box(mode="fast", label="word")),
        ("box(mode=none, limit=none)", Box(mode="none", limit=None)),
        ("box(share=-1.5, limit=-3)", Box(share=-1.5, limit=-3)),
        ("box(share=-inf)", Box(share=-math.inf)),
        ("box(sizes=[1, 2], pair=(3, 'b'))", Box(sizes=(1, 2), pair=(3, "b"))),
        ("box(names=[p, q])", Box(names=("p", "q"))),
        ("box(label=out/a-b, names=[/x/y.z, ~/s-1, *feed*, 'p/q'])",
         Box(label="out/a-b", names=("/x/y.z", "~/s-1", "*feed*", "p/q"))),
        ("box(label=a.b, file=s3://a/b-c)", Box(label="a.b", file=Path("s3://a/b-c"))),
        ("box(rates={'a': 1, 'b': .5})", Box(rates={"a": 1.0, "b": 0.5})),
        ("box(either=1)", Box(either=1)),
        ("box(either=1.5)", Box(either=1.5)),
        ("box(either=one, file='/a/b')", Box(either="one", file=Path("/a/b"))),
        ("box(tool=hammer(weight=3))", Box(tool=Hammer(3.0))),
        ("box(tools=[hammer, hammer(weight=2)])", Box(tools=(Hammer(), Hammer(2.0)))),
        ("box(tools=['box:reference'])", Box(tools=(Box.reference(),))),
        ("box:reference", Box.reference()),
        ("box:reference(count=1)", Box(1, label="published")),
        ("box:small-one(on=true)", Box(1, on=True)),
        ("needy-one(depth=2)", Needy(2)),
        ("box(\n  count=4,\n)", Box(4)),
    ],
)  # fmt: skip
def test_reading_and_writing(text, expected):
    value = parse_call(text, REGISTRY)
    assert value == expected
    assert parse_call(describe(value, REGISTRY), REGISTRY) == expected
    assert parse_call(describe(value, REGISTRY, full=True), REGISTRY) == expected
    recipe = to_dict(value, REGISTRY)
    assert from_dict(recipe, REGISTRY) == expected
    assert from_dict(yaml.safe_load(yaml.safe_dump(recipe)), REGISTRY) == expected


def test_types_are_exact():
    assert type(parse_call("box(either=1)", REGISTRY).either) is int
    assert type(parse_call("box(share=1)", REGISTRY).share) is float
    assert type(parse_call("box(count=2e0)", REGISTRY).count) is int


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot read ''"),
        ("box(count=3", "cannot read"),
        ("box)", "cannot read"),
        ("box(count=3) + 1", "cannot read"),
        ("box(count==3)", "by name"),
        ("box(3)", "options are given by name"),
        ("box(**x)", "options are given by name"),
        ("box(count=1)(on=true)", "cannot read"),
        ("box(count=1, count=2)", "the option count is given twice"),
        ("bax", r"no 'bax' \(did you mean 'box'\?\); there are: box, hammer, needy_one"),
        ("box(cuont=3)", r"no option 'cuont' \(did you mean 'count'\?\); its options: count=2, "),
        ("box(hidden=3)", "no option 'hidden'"),
        ("box(count=1.5)", "option count must be a whole number, got 1.5"),
        ("box(count=true)", "count must be a whole number, got True"),
        ("box(count='3')", "count must be a whole number, got '3'"),
        ("box(share=much)", "share must be a number, got 'much'"),
        ("box(on=1)", "on must be true or false, got 1"),
        ("box(label=3)", "label must be text, got 3"),
        ("box(mode=quick)", 'mode must be "slow" or "fast" or "none", got \'quick\''),
        ("box(limit=x)", "limit must be a whole number or none"),
        ("box(sizes=3)", "sizes must be a list of a whole number, got 3"),
        ("box(sizes=[a])", "sizes must be a list"),
        ("box(pair=[1])", "pair must be a list"),
        ("box(rates=[1])", 'rates must be a mapping {"name": a number} or none'),
        ("box(rates={1: 2})", "values are"),
        ("box(tool=3)", "tool must be a tool, got 3"),
        ("box(label=hammer(weight=2))", r"label must be text, got 'hammer\(weight=2\)'"),
        ("box(label=1 + 1)", "cannot read '1 \\+ 1'"),
        ("box(label=[x for x in y])", "values are numbers, text"),
        ("box(label=f'{1}')", "cannot read"),
        ("box(label=-x)", "cannot read '-x'"),
        ("box(tool=hammer(wieght=2))", "hammer has no option 'wieght'"),
        ("box:refrence", "no variant 'refrence'; its variants: box:reference, box:small_one"),
        ("box:load", "no variant 'load'"),
        ("hammer:x", "no variant 'x'; its variants: none"),
        ("needy_one(width=2)", r"needy_one needs depth: write needy_one\(depth=\.\.\.\)"),
        ("box(label=" + "(" * 5_000 + ")" * 5_000 + ")", "cannot read the options"),
    ],
)
def test_messages(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_call(text, REGISTRY)


def test_options_and_variants():
    options = {option.name: option for option in list_options(Box)}
    assert list(options)[:2] == ["count", "share"] and "hidden" not in options
    assert (
        options["mode"].type == '"slow" or "fast" or "none"' and options["mode"].default == "slow"
    )
    assert options["tool"].default == Hammer() and not options["tool"].required
    assert list_options(Needy)[0].required
    assert list(variants(Box)) == ["reference", "small_one"]


def test_recipes():
    assert from_dict("box(count=3)", REGISTRY) == Box(3)
    assert from_dict({"box": None}, REGISTRY) == Box()
    assert from_dict({"box:reference": {"on": True}}, REGISTRY) == Box(
        9, label="published", on=True
    )
    assert from_dict({"box": {"tool": {"hammer": {"weight": "1e-3"}}}}, REGISTRY) == Box(
        tool=Hammer(0.001)
    )
    for wrong in ({}, {"box": 3}, {"box": {}, "hammer": {}}, 3, {3: {}}):
        with pytest.raises(ConfigError, match="cannot read"):
            from_dict(wrong, REGISTRY)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no option 'size'"):
        build("box", {"size": 1}, REGISTRY)
    with pytest.raises(ConfigError, match="Needy is not registered; there are: box"):
        describe(Needy(1), {"box": Box})


def test_a_registry_that_imports_on_demand_is_asked_for_one_name():
    @dataclass(frozen=True)
    class Named(Hammer):
        name = "named"

    class Lazy(dict):  # type: ignore[type-arg]
        def __iter__(self):
            pytest.fail("imported everything")

    assert describe(Named(2.0), Lazy(named=Named)) == "named(weight=2.0)"


text = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    st.builds(
        Box,
        count=st.integers(-(2**62), 2**62),
        share=st.floats(allow_nan=False),
        label=text,
        on=st.booleans(),
        limit=st.none() | st.integers(-(2**62), 2**62),
        mode=st.sampled_from(["slow", "fast"]),
        sizes=st.lists(st.integers(-(2**62), 2**62)).map(tuple),
        names=st.lists(text).map(tuple),
        rates=st.none() | st.dictionaries(text, st.floats(allow_nan=False)),
        tool=st.builds(Hammer, st.floats(allow_nan=False)),
    )
)
def test_any_configuration_round_trips(box):
    assert parse_call(describe(box, REGISTRY), REGISTRY) == box
    assert from_dict(to_dict(box, REGISTRY), REGISTRY) == box


@given(st.text(st.sampled_from("box:refnc(),=\"'1[]{}*+ \\\n.-"), max_size=40))
def test_any_text_is_read_or_refused_clearly(text):
    with contextlib.suppress(ConfigError):
        parse_call(text, REGISTRY)
