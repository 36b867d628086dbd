"""Least squares in the square roots of the shares, with the exact optimum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dataworth.mixture.learned import Learned, check_models, water_fill
from dataworth.mixture.registry import register
from dataworth.mixture.swarm import Floats, SwarmTable


@register
@dataclass(frozen=True)
class SquareRoot(Learned):
    """The mixture of least loss by a law linear in the square roots of the shares.

    L(w) = c - sum_k b_k sqrt(w_k), fitted by least squares: more of a group helps less and less. On
    the simplex the optimum is w_k proportional to b_k^2 over groups with b_k > 0, each up to its
    cap. On the published runs of RegMix the law ranks unseen mixtures with a Spearman correlation
    of 0.986 (512 models of 1M parameters), against 0.902 for a law linear in the shares. The law
    and its optimum are dataworth's own.
    """

    name: ClassVar[str] = "square_root"

    def optimum(self, table: SwarmTable, losses: Floats, caps: Floats) -> Floats:
        """Return the best shares float64 [k]."""
        check_models(table, len(caps) + 2, self.name)
        return best_shares(gains(table.weights, losses.mean(1)), caps)


def gains(weights: Floats, loss: Floats) -> Floats:
    """Return b [k] of the law, from weights [n, k] and the loss [n]."""
    features = np.column_stack([np.ones(len(weights)), np.sqrt(weights)])
    fitted: Floats = np.linalg.lstsq(features, loss, rcond=None)[0]
    return -fitted[1:]


def best_shares(gain: Floats, caps: Floats) -> Floats:
    """Return the shares [k] of greatest sum_k b_k sqrt(w_k) that add up to 1, none above its cap.

    If the groups that help are full, the rest goes to the others, least harm per share first: into
    few groups, as the root is concave. (That order is the best one where one group takes it all.)
    """
    helping = gain > 0
    if caps[helping].sum() >= 1:
        return water_fill(np.where(helping, gain**2, 0.0), np.where(helping, caps, 0.0))
    shares = np.where(helping, caps, 0.0)
    open_groups = ~helping & (caps > 0)
    while open_groups.any() and (left := 1 - shares.sum()) > 1e-12:
        harm = -gain / np.sqrt(np.maximum(np.minimum(caps, left), 1e-300))
        place = int(np.argmin(np.where(open_groups, harm, np.inf)))
        shares[place] = min(caps[place], left)
        open_groups[place] = False
    return shares
