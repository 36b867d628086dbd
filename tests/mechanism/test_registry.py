"""Mechanisms by name: text to object and back."""

from __future__ import annotations

import math

import pytest

from dataworth.config import describe, from_dict, to_dict
from dataworth.errors import ConfigError
from dataworth.mechanism.by_query import ByQuery
from dataworth.mechanism.disf import DiSF
from dataworth.mechanism.diverse import Diverse
from dataworth.mechanism.facility_location import FacilityLocation
from dataworth.mechanism.gumbel_top_k import GumbelTopK
from dataworth.mechanism.k_centre import KCentre
from dataworth.mechanism.pareto import Pareto
from dataworth.mechanism.per_target import PerTarget
from dataworth.mechanism.random import Random
from dataworth.mechanism.registry import MECHANISMS, parse
from dataworth.mechanism.threshold import Threshold
from dataworth.mechanism.top_k import TopK
from mechanism.tables import make_table, rows_of

TEXTS = {
    "top_k": TopK(),
    "random": Random(),
    "gumbel_top_k": GumbelTopK("auto"),
    "gumbel_top_k(temperature=0.15)": GumbelTopK(0.15),
    'gumbel_top_k(temperature={"a": 0.15, "b": 2.0})': GumbelTopK({"a": 0.15, "b": 2.0}),
    "threshold(at=-inf)": Threshold(-math.inf),
    'threshold(at=0.5, by="hash")': Threshold(0.5, "hash"),
    'pareto(alpha=4.5, scale="probability")': Pareto(4.5, "probability"),
    'facility_location(objective="target", weight=0.5)': FacilityLocation(
        objective="target", weight=0.5
    ),
    "k_centre(batch=100)": KCentre(batch=100),
    'disf(embedding="embedding:embed")': DiSF(embedding="embedding:embed"),
    'by_query(rule="vote")': ByQuery(rule="vote"),
    "diverse(threshold=0.8)": Diverse(threshold=0.8),
    "per_target": PerTarget(),
    "per_target(inner=top_k)": PerTarget(TopK()),
    'per_target(inner=gumbel_top_k(temperature=0.5), proportions={"a": 2.0, "b": 1.0})': PerTarget(
        GumbelTopK(0.5), {"a": 2.0, "b": 1.0}
    ),
}


@pytest.mark.parametrize("text", TEXTS)
def test_round_trip(text):
    mechanism = parse(text)
    assert mechanism == TEXTS[text]
    assert describe(mechanism, MECHANISMS) == text
    assert parse(describe(mechanism, MECHANISMS, full=True)) == mechanism
    assert from_dict(to_dict(mechanism, MECHANISMS), MECHANISMS) == mechanism
    assert parse(mechanism) is mechanism


def test_every_mechanism_is_tested_here():
    assert {type(mechanism) for mechanism in TEXTS.values()} == set(MECHANISMS.values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("threshold", r"threshold needs at: write threshold\(at=\.\.\.\)"),
        ("topk", r"no 'topk' \(did you mean 'top_k'\?\); there are: by_query, disf, "),
        ("top_k(k=3)", "top_k has no option 'k'; its options: none"),
        ("gumbel_top_k(temprature=1)", r"did you mean 'temperature'.*options: temperature='auto'"),
        ("gumbel_top_k(temperature=hot)", 'temperature must be a number or "auto" or a mapping'),
        ("gumbel_top_k(temperature=-1)", "mapping .* \\(0 or more\\), got -1"),
        ("pareto(scale=odds)", 'scale must be "logit" or "probability", got \'odds\''),
        ("per_target(inner=3)", "inner must be a mechanism, got 3"),
        ("per_target(inner=top)", "there is no 'top'"),
    ],
)
def test_messages(text, message):
    with pytest.raises(ConfigError, match=message):
        parse(text)


def test_a_parsed_mechanism_orders():
    table = make_table([1.0, 3.0, 2.0])
    assert rows_of(parse("top-k"), table) == [1, 2, 0]
