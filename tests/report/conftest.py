"""Reports as they are, with charts that are drawn."""

from __future__ import annotations

import json
from typing import Any

import pytest
import vl_convert

_draw = vl_convert.vegalite_to_svg
_DRAWN: dict[str, str] = {}


def _draw_once(spec: dict[str, Any]) -> str:
    key = json.dumps(spec, default=repr)
    if key not in _DRAWN:
        _DRAWN[key] = _draw(spec)
    return _DRAWN[key]


@pytest.fixture(autouse=True)
def chartless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw each chart, once in all tests: most are of the same few examples."""
    monkeypatch.setattr(vl_convert, "vegalite_to_svg", _draw_once)


@pytest.fixture
def drawn_anew(chartless: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw again what was drawn before."""
    monkeypatch.setattr(vl_convert, "vegalite_to_svg", _draw)
