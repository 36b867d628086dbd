"""What mechanisms over vectors share: batches, ties, and one line for what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from dataworth.errors import ConfigError, DataworthError
from dataworth.mechanism.disf import DiSF
from dataworth.mechanism.diverse import Diverse
from dataworth.mechanism.facility_location import FacilityLocation
from dataworth.mechanism.k_centre import KCentre
from mechanism.tables import make_table, rows_of
from mechanism.vectors import cloud, rotated, table_with

BATCHED = [
    FacilityLocation(),
    FacilityLocation(objective="target"),
    FacilityLocation(objective="new", weight=0.5),
    FacilityLocation(candidates=4),
    KCentre(),
    DiSF(),
]
ALL = [*BATCHED, Diverse(threshold=0.8)]


@pytest.mark.parametrize("mechanism", ALL, ids=repr)
def test_neither_rotation_nor_the_order_of_rows_decides(mechanism):
    vectors = cloud(60)
    utilities = np.linspace(0, 1, 60)
    plain = rows_of(mechanism, table_with(vectors, utilities), 3)
    assert rows_of(mechanism, table_with(rotated(vectors), utilities), 3) == plain
    mixed = np.random.default_rng(2).permutation(60)
    shuffled = rows_of(mechanism, table_with(vectors, utilities).permuted(mixed), 3)
    assert mixed[shuffled].tolist() == plain


@pytest.mark.parametrize("mechanism", ALL, ids=repr)
def test_only_lengths_of_vectors_differ(mechanism):
    vectors = cloud(40)
    utilities = np.linspace(0, 1, 40)
    scaled = vectors * np.linspace(0.5, 4, 40)[:, None]
    plain = rows_of(mechanism, table_with(vectors, utilities))
    assert rows_of(mechanism, table_with(scaled, utilities)) == plain


@pytest.mark.parametrize("mechanism", [FacilityLocation, KCentre, DiSF])
def test_batches_take_turns_and_hold_every_row_once(mechanism):
    """Each batch's own order stays, and any beginning holds as many of one as of another."""
    table = table_with(cloud(50))
    order = rows_of(mechanism(batch=13), table)  # four batches of 12 or 13
    assert sorted(order) == list(range(50))
    batches = [order[number::4] for number in range(4)]
    for batch in batches:
        alone = table_with(
            table.vectors("embedding:embed", np.array(batch)),
            uid=table.uid[batch].tolist(),
        )
        assert [batch[row] for row in rows_of(mechanism(), alone)] == batch


@pytest.mark.parametrize("mechanism", ALL, ids=repr)
def test_equal_vectors_fall_back_to_the_hash(mechanism):
    order = rows_of(mechanism, table_with(np.ones((9, 3))))
    alike = rows_of(mechanism, table_with(np.full((9, 3), 2.0)))
    assert order == alike
    if not isinstance(mechanism, Diverse):
        assert sorted(order) == list(range(9))
    else:
        assert len(order) == 1


@pytest.mark.parametrize("mechanism", ALL, ids=repr)
def test_vectors_of_zeros_do_not_stop_it(mechanism):
    vectors = cloud(12)
    vectors[[3, 7]] = 0
    assert {3, 7} <= set(rows_of(mechanism, table_with(vectors)))


@pytest.mark.parametrize("mechanism", ALL, ids=repr)
def test_one_document_and_none(mechanism):
    assert rows_of(mechanism, table_with(np.ones((1, 3)))) == [0]
    nobody = table_with(np.ones((2, 3)), eligible=[False, False])
    assert rows_of(mechanism, nobody) == []


@pytest.mark.parametrize("mechanism", ALL, ids=repr)
def test_dropped_documents_need_no_vector(mechanism):
    vectors = cloud(6)
    vectors[2] = np.nan
    table = table_with(vectors, eligible=[True, True, False, True, True, True])
    assert 2 not in rows_of(mechanism, table)
    with pytest.raises(DataworthError, match=r"1 of 6 documents have no finite vector in embedd"):
        rows_of(mechanism, table_with(vectors))


@pytest.mark.parametrize("mechanism", ALL, ids=repr)
def test_no_column_or_several(mechanism):
    with pytest.raises(ConfigError, match="no step made any: add a step"):
        rows_of(mechanism, make_table([1.0, 2.0]))
    table = table_with(cloud(4))
    table.vector_columns["embedding:other"] = cloud(4, 2)
    with pytest.raises(ConfigError, match="several vectors"):
        rows_of(mechanism, table)
    with pytest.raises(ConfigError, match=r"no vectors 'embedding:third', only"):
        rows_of(type(mechanism)(embedding="embedding:third"), table)
    assert rows_of(type(mechanism)(embedding="embedding:other"), table)
