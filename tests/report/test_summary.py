"""The tables on the terminal: true to the metrics, ASCII in files, deaf to terminal escapes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from dataworth.report.summary import explain, show
from dataworth.results.selection import Explanation, Metrics, Sample
from report.example import from_data


def console(terminal: bool = False, encoding: str = "utf-8") -> tuple[Console, io.BytesIO]:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    return Console(file=file, force_terminal=terminal, width=110), raw


def shown(metrics: Metrics, terminal: bool = False, encoding: str = "utf-8") -> str:
    screen, raw = console(terminal, encoding)
    show(metrics, screen)
    return raw.getvalue().decode(encoding)


def explained(explanation: Explanation, encoding: str = "utf-8") -> str:
    screen, raw = console(encoding=encoding)
    explain(explanation, screen)
    return raw.getvalue().decode(encoding)


@pytest.fixture(scope="module")
def real(data: Path) -> Metrics:
    return from_data(data, ["math", "code"], documents=400)


SAMPLE: Sample = {
    "uid": "00ff" * 4,
    "text": "A text of\nseveral lines.",
    "file": "pool/a.jsonl",
    "offset": 12_345,
    "id": "doc-7",
    "column": "utility:step:math",
    "utility": -0.25,
    "rank": 1_234,
    "why": [
        {"label": "the sum", "contribution": 0.5, "count": 3},
        {"label": "said", "contribution": -0.75},
    ],
    "rest": 0.1,
    "groups": {"domain": "news", "lang": None},
}


def test_numbers(real: Metrics) -> None:
    text = shown(real)
    accounting = real["accounting"]
    for number in (accounting["documents"], accounting["kept"]["documents"]):
        assert f"{number:,}" in text
    for reason, number in accounting["dropped"].items():
        assert f"dropped: {reason}" in text and f"{number:,}" in text
    assert "bad: invalid json" in text
    assert "gain: math" in text and "held-out half" in text
    assert "effective sample size: ratio -> code" in text
    assert "correlation with length: ratio -> math" in text
    assert "71.2 MB/s" in text and "2.31 s" in text
    assert "What to distrust" in text


def test_file_is_ascii_and_without_colour(real: Metrics) -> None:
    assert shown(real).isascii()
    assert "\x1b" not in shown(real)
    assert "\x1b[1m" in shown(real, terminal=True)


def test_nothing() -> None:
    metrics: Metrics = {
        "metrics_version": 1,
        "run": {},
        "accounting": {"documents": 0, "eligible": 0, "kept": {"documents": 0}},
    }
    assert "Nothing was selected." in shown(metrics)


def test_escapes_and_markup_do_nothing(real: Metrics) -> None:
    evil: Metrics = {
        **real,
        "run": {"title": "\x1b]0;owned\x07 [bold red]x[/] \u202e"},
        "warnings": ["\x1b[2J[link=http://evil.example]x[/link]"],
    }
    evil["accounting"] = {**real["accounting"], "dropped": {"\x9b31m[/]": 3}}
    text = shown(evil)
    assert not set("\x1b\x07\x9b\u202e") & set(text)
    assert "[bold red]x[/]" in text and "[U+001B]" in text


def test_explain() -> None:
    text = explained(
        {
            "document": SAMPLE,
            "kept": False,
            "eligible": 9_999,
            "chosen": 1_000,
            "thresholds": {"utility:step:math": 0.125},
            "units": {"utility:step:math": "nats per n-gram"},
            "noise": "Gumbel noise, temperature 0.15",
        }
    )
    for part in (
        f"{SAMPLE['uid']}: not kept",
        "pool/a.jsonl",
        "byte 12,345",
        "-0.250",
        "cut at 0.125",
        "1,234",
        "of 9,999 eligible",
        "the first 1,000 were chosen",
        "the sum",
        "+0.500",
        "x3",
        "all else",
        "(missing)",
        "Gumbel noise",
        "A text of several lines.",
    ):
        assert part in text, part
    assert text.isascii()


def test_explain_a_dropped_document() -> None:
    dropped: Sample = {"uid": "0" * 16, "text": "short", "drop": "fewer than 5 words"}
    text = explained({"document": dropped, "kept": False})
    assert "fewer than 5 words" in text and "What drove" not in text


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_explain_in_any_encoding(encoding: str) -> None:
    sample: Sample = {**SAMPLE, "text": "你好 \ud800 \x1b[2J", "why": []}
    sample["why"] = [{"label": "你好 שלום \x1b", "contribution": 1.0}]
    text = explained({"document": sample, "kept": True}, encoding)
    assert "\x1b" not in text
    assert ("你好" in text) == (encoding == "utf-8")
