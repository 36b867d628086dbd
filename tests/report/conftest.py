"""Reports as they are."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def chartless() -> None:
    """Draw the charts."""
