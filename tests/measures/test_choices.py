"""Measures of multiple choice: the worked example, lengths, chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.errors import ConfigError
from dataworth.measures import choices

FOUR = [-1.0, -2.0, -3.0, -4.0]


def test_the_worked_example() -> None:
    found = choices.measures([FOUR], [0])
    assert found["correct_prob"] == pytest.approx(0.3679, abs=5e-5)
    assert found["total_prob"] == pytest.approx(0.5713, abs=5e-5)
    assert found["norm_correct_prob"] == pytest.approx(0.6439, abs=5e-5)
    assert found["margin"] == pytest.approx(0.2325, abs=5e-5)
    assert found["accuracy"] == 1 and found["centred_accuracy"] == 1
    wrong = choices.measures([FOUR], [3])
    assert wrong["accuracy"] == 0 and wrong["margin"] == pytest.approx(math.exp(-4) - math.exp(-1))
    assert wrong["centred_accuracy"] == pytest.approx(-1 / 3)
    assert set(found) == {*(f.__name__ for f in choices.MEASURES), "centred_accuracy"}


def test_lengths_change_the_answer() -> None:
    logs, tokens, characters = [[-4.0, -6.0]], [[1, 3]], [[8, 12]]
    found = choices.measures(logs, [1], tokens=tokens, characters=characters)
    assert found["accuracy"] == 0 and found["accuracy_per_token"] == 1
    assert found["correct_prob_per_token"] == pytest.approx(math.exp(-2))
    assert found["correct_prob_per_char"] == pytest.approx(math.exp(-0.5))
    assert found["accuracy_per_char"] == 0.5  # both have -0.5 a character: a tie
    assert found["margin_per_char"] == pytest.approx(0)
    np.testing.assert_allclose(choices.per_length(logs, [[0, 3]]), [[-4.0, -2.0]])


def test_ties_and_chance() -> None:
    logs = [[-1.0, -1.0, -1.0, -1.0]] * 3 + [[-2.0, -2.0]] * 2
    np.testing.assert_allclose(choices.accuracy(logs, [0, 1, 3, 0, 1]), [0.25] * 3 + [0.5] * 2)
    assert choices.chance(logs) == pytest.approx(0.35)
    found = choices.measures(logs, [0, 1, 3, 0, 1])
    # Guessing is 0, perfect is 1.
    assert found["accuracy"] == pytest.approx(0.35)
    assert found["centred_accuracy"] == pytest.approx(0)
    assert choices.centred(1.0, 0.25) == 1 and choices.centred(0.25, 0.25) == 0
    assert math.isnan(choices.chance([]))


@settings(deadline=None, derandomize=True)
@given(st.lists(st.lists(st.floats(-50, 0), min_size=2, max_size=6), min_size=1, max_size=5))
def test_bounds(logs: list[list[float]]) -> None:
    right = [0] * len(logs)
    total, share = choices.total_prob(logs, right), choices.norm_correct_prob(logs, right)
    correct, margin = choices.correct_prob(logs, right), choices.margin(logs, right)
    assert (total >= correct - 1e-12).all()
    assert ((share >= 0) & (share <= 1)).all()
    np.testing.assert_allclose(share, correct / total, rtol=1e-9)
    assert (margin <= correct).all()
    accuracy = choices.accuracy(logs, right)
    assert (accuracy[margin > 0] == 1).all() and (accuracy[margin < 0] == 0).all()


def test_unlikely_options_do_not_all_round_to_nothing() -> None:
    assert choices.norm_correct_prob([[-2000.0, -2001.0]], [0])[0] == pytest.approx(
        1 / (1 + math.exp(-1))
    )


@pytest.mark.parametrize(
    ("logs", "right", "said"),
    [
        ([], [], "no multiple-choice question"),
        ([[-1.0]], [0], "question 0: has fewer than two options"),
        ([FOUR, FOUR], [0, 4], "question 1: the correct option is number 4, of 4"),
        ([FOUR], [0, 1], "1 questions, but 2 correct options"),
    ],
)
def test_what_is_no_question(logs: list[list[float]], right: list[int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        choices.measures(logs, right)


def test_lengths_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match="question 0: 4 options, but 2 lengths"):
        choices.measures([FOUR], [0], tokens=[[1, 2]])
    with pytest.raises(ConfigError, match="1 questions, but lengths of 2"):
        choices.measures([FOUR], [0], tokens=[[1] * 4] * 2)
