"""Laws from shares to a loss that several mixtures and searches fit."""

from __future__ import annotations

import numpy as np

from dataworth.mixture.learned import water_fill
from dataworth.mixture.swarm import Floats


def root_gains(weights: Floats, loss: Floats) -> Floats:
    """Return b [k] of L(w) = c - sum_k b_k sqrt(w_k), from weights [n, k] and the loss [n].

    By least squares.
    """
    features = np.column_stack([np.ones(len(weights)), np.sqrt(weights)])
    fitted: Floats = np.linalg.lstsq(features, loss, rcond=None)[0]
    return -fitted[1:]


def best_roots(gain: Floats, caps: Floats) -> Floats:
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
