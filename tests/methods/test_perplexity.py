"""Perplexity and its ranks against losses by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dataworth.errors import ConfigError, DataworthError
from dataworth.methods.keeping import kept, sorted_losses
from dataworth.methods.perplexity import Perplexity
from methods.fitting import fit, utility
from methods.modelled import POOL, model_folder, opened, texts, tokens, whole_loss

LONG = " ".join(texts("seas", 8))  # of several windows
SOME = [*POOL[:5], LONG, "", "Unseen: 東京!"]


def by_hand(some: list[str]) -> list[float]:
    model, tokenizer = opened()
    return [whole_loss(model, tokenizer, t).item() / max(tokens(tokenizer, t), 1) for t in some]


def test_the_loss_per_token_of_all_windows() -> None:
    truth = by_hand(SOME)
    low = utility(fit(Perplexity(model_folder(), keep="low"), POOL, {}), SOME)
    high = utility(fit(Perplexity(model_folder(), keep="high"), POOL, {}), SOME)
    assert high == pytest.approx(truth, rel=1e-5)
    assert low == [-value for value in high if value is not None]


def test_windows_that_count() -> None:
    """The first window alone, of 31 predicted tokens."""
    from methods.modelled import loss, pieces

    model, tokenizer = opened()
    first = loss(model, pieces(tokenizer, LONG)[0]).item() / 31
    step = Perplexity(model_folder(), keep="high", windows=1)
    assert utility(fit(step, POOL, {}), [LONG]) == pytest.approx([first], rel=1e-5)


def test_ranks_are_of_the_sample() -> None:
    fitted = fit(Perplexity(model_folder()), POOL, {})
    losses, pool = np.array(by_hand(SOME)), np.array(by_hand(POOL))
    ranks = [(np.mean(pool < one - 1e-6) + np.mean(pool < one + 1e-6)) / 2 for one in losses]
    assert utility(fitted, SOME) == pytest.approx([-abs(rank - 0.5) for rank in ranks])
    assert fitted.columns[0].unit == "ranks from the median, negative"
    assert fitted.losses == pytest.approx(np.sort(pool), rel=1e-5)


def test_half_from_the_middle() -> None:
    """Of ranks 0 to 99, half is 25 to 74 (Marion et al.)."""
    losses = np.arange(100.0)
    best = np.argsort(-kept("middle", losses, losses), kind="stable")[:50]
    assert sorted(best) == list(range(25, 75))


@pytest.mark.parametrize("seed", range(20))
def test_the_middle_does_not_hang_on_the_scale(seed: int) -> None:
    losses = np.random.default_rng(seed).integers(0, 20, 1 + 2 * seed).astype(np.float64)
    utilities = kept("middle", losses, np.sort(losses))
    assert utilities.tolist() == kept("middle", losses**3, np.sort(losses**3)).tolist()
    assert ((utilities >= -0.5) & (utilities <= 0)).all()
    # Ties share a rank; turned round, a distance from the median stays.
    assert kept("middle", -losses, np.sort(-losses)) == pytest.approx(utilities)


def test_bad_input_is_one_line() -> None:
    with pytest.raises(ConfigError, match="needs a causal language model: model=FOLDER"):
        Perplexity()
    with pytest.raises(DataworthError, match="no document of the pool's sample has a loss"):
        sorted_losses("perplexity", np.array([np.nan]))
    with pytest.raises(DataworthError, match="no document of the pool's sample"):
        fit(Perplexity(model_folder()), [], {})
