"""Steps by name, with the filters they want, and back as text."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dataworth.errors import ConfigError
from dataworth.methods.base import Explains, Needs
from dataworth.methods.dsir import DSIR
from dataworth.methods.dsir_discriminative import DiscriminativeDSIR
from dataworth.methods.length import Length
from dataworth.methods.registry import DEFAULT, STEPS, parse_step, shown, with_filters


def test_names_lead_to_their_classes() -> None:
    assert {name: STEPS[name].name for name in STEPS} == {name: name for name in STEPS}
    assert set(DEFAULT) <= set(STEPS)
    assert isinstance(parse_step("dsir:reference"), DSIR)


@pytest.mark.parametrize(
    "step",
    [
        DSIR(),
        DSIR.reference(),
        DSIR(ngrams=3, smoothing=1e-9, targets="joint"),
        DiscriminativeDSIR(documents=5),
        Length(3, 9),
    ],
)
def test_a_step_is_read_back_from_its_text(step) -> None:
    assert parse_step(shown(step)) == step
    assert parse_step(step) is step


def test_variants_can_be_changed() -> None:
    step = parse_step("dsir:reference(minimum=7)")
    assert step == DSIR(
        hash="sha256",
        smoothing=0.0,
        raw="all",
        per="document",
        targets="joint",
        minimum=7,
        mechanism="gumbel_top_k(temperature=1.0)",
    )


def test_unknown_names() -> None:
    with pytest.raises(ConfigError, match="dsir"):
        parse_step("dsri")
    with pytest.raises(ConfigError, match="raw"):
        parse_step("dsir(raw=everything)")


def test_filters_come_right_before_and_once() -> None:
    plain, long, longer = DSIR(), DSIR(minimum=100), DSIR.reference()
    assert with_filters([plain]) == [(plain, False)]
    own = Length(100)
    assert with_filters([plain, long, longer]) == [
        (plain, False),
        (own, True),
        (long, False),
        (longer, False),
    ]
    assert with_filters([own, long]) == [(own, False), (long, False)]
    assert with_filters([Length(5), long]) == [(Length(5), False), (own, True), (long, False)]
    characters = DiscriminativeDSIR(minimum=4, tokens="characters")
    assert with_filters([characters])[0] == (Length(4, tokens="characters"), True)


def test_protocols_are_seen() -> None:
    assert isinstance(DSIR(), Needs) and not isinstance(Length(), Needs)
    assert isinstance(DSIR(), Explains) and not isinstance(Length(), Explains)


def test_naming_steps_imports_no_method() -> None:
    code = (
        "import sys; from dataworth.methods.registry import STEPS; assert len(STEPS) > 2; "
        "assert not [m for m in sys.modules if m.startswith('dataworth.methods.dsir')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
