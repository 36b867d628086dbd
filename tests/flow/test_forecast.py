"""What a forecast of time and memory is made of."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
from dataworth.flow.attributing.forecast import Watch, peak, release, resident


def test_growth_is_what_was_held_at_once() -> None:
    release()
    with Watch() as watch:
        for _ in range(3):
            held = np.ones(10_000_000)
            del held
    assert watch.growth == pytest.approx(80e6, rel=0.2)


def test_memory_now_and_at_the_peak() -> None:
    held = np.ones(10_000_000)
    most = resident()
    del held
    release()
    assert resident() < most - 60e6
    assert peak() >= most - 1e6  # the kernel counts some pages late
