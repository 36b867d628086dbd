"""The HTML report: well-formed, self-contained, inert, true to its numbers, small, repeatable."""

from __future__ import annotations

import copy
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from dataworth.report import page
from dataworth.results.format import TIMES
from dataworth.results.selection import Metrics
from report import pages
from report.example import from_data
from report.pages import PAYLOADS, check, words


@pytest.fixture(scope="module")
def real(data: Path) -> Metrics:
    return from_data(data, ["math", "code"], documents=600)


def empty() -> Metrics:
    return {
        "metrics_version": 1,
        "run": {},
        "accounting": {"documents": 0, "eligible": 0, "kept": {"documents": 0}},
    }


def hostile(base: Metrics) -> Metrics:
    free = {"bad", "dropped", "settings", "machine", "groups", "utilities"}
    result: Metrics = pages.hostile(base, {"scale"}, free)
    return result


def many(base: Metrics, utilities: int = 12, values: int = 200) -> Metrics:
    """The same with many utilities, group values, samples, settings and files."""
    result = copy.deepcopy(base)
    one = result["utilities"][0]
    result["utilities"] = [
        {**one, "column": f"utility:step{i}:target{i}", "target": f"target{i}"}
        for i in range(utilities)
    ]
    result["targets"] = [{**result["targets"][0], "name": f"target{i}"} for i in range(utilities)]
    parts = [
        {"value": f"value{i}", "pool": {"documents": 10 + i}, "selection": {"documents": i % 7}}
        for i in range(values)
    ]
    result["composition"] = [
        {"field": "source", "parts": parts},  # type: ignore[typeddict-item]
        {"field": "lang", "parts": parts[:1]},  # type: ignore[typeddict-item]
    ]
    for group in result["samples"].values():
        group *= 10  # type: ignore[misc]
    result["run"]["settings"] = {f"key{i}": {"deep": [1, {"er": i}]} for i in range(900)}
    result["run"]["inputs"] = [{"path": f"pool/{i}.jsonl", "documents": 9} for i in range(4_000)]
    return result


def test_real(real: Metrics) -> None:
    html = page.render(real)
    text = words(check(html))
    accounting = real["accounting"]
    for number in (
        accounting["documents"],
        accounting["eligible"],
        accounting["kept"]["documents"],
    ):
        assert f"{number:,}" in text
    for name in ("math", "code"):
        assert name in text
    target = real["targets"][0]["gain"]
    assert target is not None and f"{target['bound']:.3f}" in text
    for title in ("Kept", "Better than random?", "What to distrust", "Composition", "Lengths"):
        assert title in text
    for shift in real["ngrams"]["gained"]:  # type: ignore[index]
        assert re.sub(r"\s+", " ", shift["ngram"]) in text
    for sample in real["samples"]["top"]:
        assert sample["uid"] in text
        assert re.sub(r"\s+", " ", sample["text"][:60]) in text
    assert html.count("<svg") == 1 + 2 + 1 + 1 + 1  # targets, utilities, composition, lengths, flow


def test_same_bytes_twice(real: Metrics) -> None:
    assert page.render(real) == page.render(real)


def test_metrics_survive_json(real: Metrics) -> None:
    assert page.render(json.loads(json.dumps(real))) == page.render(real)


def test_input_is_not_changed(real: Metrics) -> None:
    before = copy.deepcopy(real)
    page.render(real)
    assert before == real


def test_write(real: Metrics, tmp_path: Path) -> None:
    written = page.write(real, tmp_path / "report.html")
    assert written.read_text("utf-8") == page.render(real)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_hostile_everywhere(real: Metrics) -> None:
    text = words(check(page.render(hostile(real))))
    assert "<script>alert(1)</script>" in text  # there to be read, as text
    assert "U+202E" in text and "U+001B" in text and "U+D800" in text
    assert "marks" in text


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_document(payload: str) -> None:
    metrics = empty()
    metrics["run"] = {"title": payload, "command": payload, "settings": {payload: payload}}
    metrics["accounting"] = {
        "documents": 2,
        "eligible": 1,
        "kept": {"documents": 1},
        "dropped": {payload: 1},
        "bad": {payload: 1},
    }
    metrics["composition"] = [
        {
            "field": payload,
            "parts": [
                {"value": payload, "pool": {"documents": 2}, "selection": {"documents": 1}},
                {"value": None, "pool": {"documents": 2}, "selection": {"documents": 1}},
            ],
        }
    ]
    metrics["ngrams"] = {
        "gained": [{"ngram": payload, "pool": 0.0, "selection": 1.0, "log_ratio": 1.0}]
    }
    metrics["samples"] = {
        "top": [
            {
                "uid": "0" * 16,
                "text": payload,
                "file": payload,
                "id": payload,
                "why": [{"label": payload, "contribution": -1.0}],
                "groups": {payload: payload},
            }
        ]
    }
    metrics["warnings"] = [payload]
    metrics["notes"] = [payload]
    text = words(check(page.render(metrics)))
    if payload.isprintable() and len(payload) < 100:
        assert re.sub(r"\s+", " ", payload) in text


def test_nothing() -> None:
    text = words(check(page.render(empty())))
    assert "Nothing was selected." in text
    assert "Nothing kept" in text


@pytest.mark.parametrize(
    "missing",
    ["utilities", "targets", "composition", "lengths", "ngrams", "samples", "warnings", "notes"],
)
def test_missing_pieces(real: Metrics, missing: str) -> None:
    without = {key: value for key, value in real.items() if key != missing}
    check(page.render(without))  # type: ignore[arg-type]
    check(page.render({**without, missing: None}))  # type: ignore[typeddict-item]


def test_every_optional_leaf_may_be_missing(real: Metrics) -> None:
    """Removing any optional key, alone, leaves a report."""
    required = {"metrics_version", "run", "accounting", "documents", "eligible", "kept", "asked"}
    required |= {"edges", "column", "value", "name", "field", "parts", "pool", "selection", "uid"}
    required |= {"text", "label", "contribution", "seconds", "path", "histogram", "ngram"}
    required |= {"log_ratio"}

    def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        if isinstance(value, dict):
            inner = [p for key, item in value.items() for p in places(item, (*path, key))]
            return [(*path, key) for key in value if key not in required] + inner
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return places(value[0], (*path, 0))
        return []

    light = copy.deepcopy(real)
    for key in {place[-2:]: place for place in places(light)}.values():
        reduced: Any = copy.deepcopy(light)
        holder = reduced
        for step in key[:-1]:
            holder = holder[step]
        del holder[key[-1]]
        page.render(reduced)


def test_not_a_number(real: Metrics) -> None:
    broken = copy.deepcopy(real)
    broken["utilities"][0].update(
        {"threshold": math.nan, "effective_sample_size": math.inf, "spearman_length": math.nan}
    )
    broken["targets"][0]["gain"] = {"value": math.nan, "bound": math.inf}
    broken["samples"]["top"][0]["utility"] = math.nan
    text = words(check(page.render(broken)))
    assert "nan" not in text.split() and "inf" not in text.split()


def test_one_document() -> None:
    metrics = empty()
    metrics["accounting"] = {"documents": 1, "eligible": 1, "kept": {"documents": 1}}
    metrics["utilities"] = [
        {
            "column": "utility:step:target",
            "histogram": {"edges": [0.5, 0.5], "pool": [1], "selection": [1]},
        }
    ]
    assert "Kept 1 document, 100% of 1 read" in words(check(page.render(metrics)))


def test_zero_selected(data: Path) -> None:
    metrics = from_data(data, [], documents=400)
    metrics["accounting"]["kept"] = {"documents": 0, "tokens": 0, "bytes": 0}
    for part in metrics["composition"][0]["parts"]:
        part["selection"] = {"documents": 0, "tokens": 0}
    metrics["lengths"]["histogram"]["selection"] = []  # type: ignore[index]
    metrics["samples"]["top"] = []
    check(page.render(metrics))


def test_many(real: Metrics) -> None:
    html = page.render(many(real))
    text = words(check(html))
    assert html.count("<figcaption><h3><bdi>ratio → target") == 12
    assert "185 other values" in text
    assert "and 3,975 files more" in text


def test_texts_give_way_below_two_megabytes(real: Metrics) -> None:
    heavy = many(real)
    for group in heavy["samples"].values():
        for sample in group:  # type: ignore[attr-defined]
            sample["text"] = "\x00a" * 50_000
            sample["why"] = [{"label": "\x00a" * 90, "contribution": 1.0}] * 60
    check(page.render(heavy))


def test_composition_adds_up() -> None:
    metrics = empty()
    metrics["accounting"] = {"documents": 100, "eligible": 100, "kept": {"documents": 10}}
    metrics["composition"] = [
        {
            "field": "domain",
            "parts": [
                {"value": "a", "pool": {"documents": 60}, "selection": {"documents": 9}},
                {"value": "b", "pool": {"documents": 30}, "selection": {"documents": 1}},
            ],
            "rest_values": 40,
            "rest": {"value": "", "pool": {"documents": 10}, "selection": {"documents": 0}},
        }
    ]
    text = words(check(page.render(metrics)))
    assert "90.0%" in text and "was 60.0%" in text and f"{TIMES}1.50" in text
    assert "40 other values" in text and "42 values" in text
