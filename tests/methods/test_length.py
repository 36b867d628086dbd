"""The filter by length: which documents, and what reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataworth.errors import ConfigError
from dataworth.methods.fitted import Fitted
from dataworth.methods.length import Length, least_length
from methods.fitting import docs, fit

TEXTS = ["", " ", "a", "a b", "a, b", "a b c d", "漢字漢字"]


def reasons(step: Length, texts: list[str] = TEXTS) -> list[str | None]:
    return fit(step, ["x"], {}).annotate(docs(texts)).column("drop").to_pylist()


@pytest.mark.parametrize("minimum", [0, 1, 2, 3, 100])
@pytest.mark.parametrize("maximum", [None, 3, 100])
def test_ends_are_included(minimum: int, maximum: int | None) -> None:
    if maximum is not None and maximum < minimum:
        return
    lengths = [0, 0, 1, 2, 3, 4, 1]
    wanted = [
        f"shorter than {minimum} words"
        if n < minimum
        else f"longer than {maximum} words"
        if maximum is not None and n > maximum
        else None
        for n in lengths
    ]
    assert reasons(Length(minimum, maximum)) == wanted


def test_other_words() -> None:
    assert reasons(Length(2, tokens="mixed"), ["漢字漢字", "word"]) == [
        None,
        "shorter than 2 words",
    ]
    assert reasons(Length(4, tokens="characters"), ["漢 字", "word"]) == [
        "shorter than 4 words",
        None,
    ]


def test_no_documents_and_nothing_dropped() -> None:
    assert reasons(Length(), []) == []
    batch = fit(Length(0), ["x"], {}).annotate(docs(TEXTS))
    assert batch.column("drop").null_count == len(TEXTS)


def test_saved_and_loaded(tmp_path: Path) -> None:
    step = Length(2, 3)
    fitted = fit(step, ["x"], {})
    fitted.save(tmp_path / "step")
    again = Fitted.load(step, tmp_path / "step")
    assert again.annotate(docs(TEXTS)).equals(fitted.annotate(docs(TEXTS)))


def test_settings_that_leave_nothing() -> None:
    with pytest.raises(ConfigError, match="leave no document"):
        Length(minimum=5, maximum=4)
    with pytest.raises(ConfigError, match=r"length: option minimum .* \(0 or more\), got -1"):
        Length(minimum=-1)


def test_settings_are_checked_when_they_are_made() -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        Length(tokens="wordpunkt")


def test_least_length() -> None:
    assert least_length(0, "wordpunct") == ()
    assert least_length(100, "wordpunct") == (Length(100),)
    with pytest.raises(ConfigError):
        least_length(-1, "wordpunct")
