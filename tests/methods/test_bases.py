"""The bases of steps: one that forgets what its base leaves open is refused when it is defined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

from dataworth.errors import ConfigError
from dataworth.methods.base import Score
from dataworth.methods.modelled import ModelMeasure, ModelScore, model_option
from dataworth.registry import register


@pytest.mark.parametrize(
    ("base", "left"),
    [(ModelScore, "values"), (ModelMeasure, "measure"), (Score, "unit, utilities")],
)
def test_what_a_base_leaves_open_is_asked_for(base: type[Score], left: str) -> None:
    @dataclass(frozen=True)
    class Forgetful(base):  # type: ignore[misc,valid-type]
        name: ClassVar[str] = "forgetful"
        model: str = model_option()

    with pytest.raises(ConfigError, match=f"Forgetful leaves open what its base asks for: {left}$"):
        register(Forgetful)
    with pytest.raises(TypeError, match="abstract"):
        Forgetful(model="folder")
