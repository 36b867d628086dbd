"""Steps and mechanisms from outside: registered, by entry point, by their place, as objects."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest

import dataworth
from dataworth.errors import ConfigError
from dataworth.mechanism.base import Table, by_cost, eligible_rows
from dataworth.mechanism.registry import MECHANISMS
from dataworth.mechanism.registry import parse as parse_mechanism
from dataworth.methods.registry import STEPS, parse_step, shown

SOURCE = Path(__file__).parent.parent / "examples" / "plugin" / "dataworth_distinct.py"
TEXTS = ["one two three four", "one one one one", "five six five seven", "a b"]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module on Python's path that holds a class as people first write it, without a mark."""
    source = SOURCE.read_text().replace("@dataworth.register\n", "")
    (tmp_path / "odd_steps.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    yield "odd_steps"
    sys.modules.pop("odd_steps", None)


def test_a_class_by_its_place_is_read_back(module: str, tmp_path: Path) -> None:
    text = f"{module}:DistinctWords(least=0.6)"
    assert shown(parse_step(text)) == text
    assert parse_step({f"{module}:DistinctWords": {"least": 0.6}}) == parse_step(text)
    out = tmp_path / "out"
    made = dataworth.select(TEXTS, budget="2-docs", steps=[text], out=out, engine=1)
    assert made.metrics["accounting"]["dropped"] == {"too few different words": 1}
    assert shown(dataworth.load(out).scored.fitted[0].step) == text
    again = dataworth.read_recipe(out / "run.json").options["steps"]
    assert again == [{f"{module}:DistinctWords": {"least": 0.6}}]


def test_a_persons_own_object_runs_in_processes(module: str, tmp_path: Path) -> None:
    step = parse_step(f"{module}:DistinctWords(least=0.6)")
    engines = (dataworth.Engine(1), dataworth.Engine(2, "processes"))
    (tmp_path / "pool.txt").write_text("\n".join(TEXTS))
    pool: dict[str, Any] = {"pool": tmp_path / "pool.txt", "txt": "line", "budget": "2-docs"}
    one, two = (dataworth.select(**pool, steps=[step], engine=engine) for engine in engines)
    assert list(one.rows) == list(two.rows)
    assert one.metrics["accounting"] == two.metrics["accounting"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no_such_module:Step", "there is no 'no_such_module'"),
        ("no.such.module:Step", "no.such.module:Step: cannot be imported .*PYTHONPATH=FOLDER"),
        ("odd_steps:Other", "the module odd_steps has no such class"),
        ("odd_steps:np", "odd_steps:np is no step"),
        ("subprocess:Popen(args=[ls])", "subprocess:Popen is no step"),
        ("odd_steps:DistinctWords(least=2)", r"option least must be .*between 0 and 1\), got 2"),
        ("odd_steps:DistinctWords(last=2)", "did you mean 'least'"),
    ],
)
def test_what_is_no_step_is_refused(module: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_step(text)


def test_a_module_that_fails_is_told_in_one_line(module: str, tmp_path: Path) -> None:
    (tmp_path / "bad_steps.py").write_text("raise RuntimeError('first\\nsecond')")
    with pytest.raises(ConfigError, match=r"bad_steps:X: cannot be imported \(first\)"):
        parse_step("bad_steps:X")


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[EntryPoint]]]:
    entries = {"odd": [EntryPoint("odd", "no_module:X", STEPS.group)]}
    monkeypatch.setitem(STEPS.__dict__, "plugins", entries)
    yield entries
    STEPS._registered.pop("distinct_words", None)


def test_a_broken_plugin_breaks_nothing_else(
    offered: dict[str, list[EntryPoint]], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigError, match=r"odd of the package .* cannot be loaded \(No module"):
        parse_step("odd")
    assert parse_step("dsir").name == "dsir"
    assert "odd" not in dict(STEPS.listed()) and "dsir" in dict(STEPS.listed())
    assert "odd of the package" in caplog.text


def test_a_plugin_is_called_by_its_name(offered: dict[str, list[EntryPoint]], module: str) -> None:
    entry = EntryPoint("distinct_words", f"{module}:DistinctWords", STEPS.group)
    offered["distinct_words"] = [entry]
    assert shown(parse_step("distinct-words(least=0.5)")) == "distinct_words(least=0.5)"
    offered["other"] = [EntryPoint("other", entry.value, STEPS.group)]
    with pytest.raises(ConfigError, match="its class has the name 'distinct_words'"):
        parse_step("other")
    offered["twice"] = [entry, EntryPoint("twice", "elsewhere:X", STEPS.group)]
    with pytest.raises(ConfigError, match="offered by several packages"):
        parse_step("twice")


def test_registered_classes_are_known_and_checked() -> None:
    @dataworth.register
    @dataclass(frozen=True)
    class ByPlace:
        """Order by place."""

        name: ClassVar[str] = "by_place"
        power: float = dataworth.option(1.0, help="Of the place.", above=0)
        marks: tuple[str, ...] = dataworth.option((), help="Not used.")

        def order(self, table: Table, seed: int) -> Any:
            rows = eligible_rows(table)
            return by_cost(table, seed, table.position**self.power, rows)

    try:
        assert parse_mechanism("by_place(power=2)") == ByPlace(2)
        assert ByPlace(marks="a").marks == ("a",)
        for wrong in ({"power": 0}, {"power": "much"}, {"pover": 1}):
            with pytest.raises(ConfigError, match="by_place"):
                ByPlace(**wrong)
        for mechanism in ("by_place", ByPlace(2)):
            options: dict[str, Any] = {"steps": "length", "mechanism": mechanism, "engine": 1}
            made = dataworth.select(TEXTS, budget="1-docs", **options)
            assert list(made.rows) == [0]
    finally:
        MECHANISMS._registered.pop("by_place")


def test_names_of_dataworths_own_are_kept() -> None:
    with pytest.raises(ConfigError, match="'dsir' is dataworth's own"):

        @dataworth.register
        @dataclass(frozen=True)
        class Mine:
            name: ClassVar[str] = "dsir"

            def fit(self, pool: Any, targets: Any, context: Any) -> Any: ...
