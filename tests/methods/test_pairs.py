"""Scores of image-text pairs against their formulas, and files that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataworth.errors import ConfigError, DataworthError, InputError
from dataworth.features.pairs import clip_losses
from dataworth.methods.clip_loss import CLIPLoss
from dataworth.methods.dfn import DFN
from dataworth.methods.norm_sim import NormSim
from methods.fitting import fit, utility

TEXTS = [f"caption {number}" for number in range(30)]


def unit(rows: Any) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@pytest.fixture
def sides() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    image = unit(draw.normal(size=(30, 6)))
    return image, unit(image + 0.8 * draw.normal(size=(30, 6)))


def lists(rows: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])


def write(folder: Path, image: np.ndarray, caption: np.ndarray) -> str:
    path = folder / "pairs.parquet"
    pq.write_table(
        pa.table({"text": TEXTS, "image": lists(image), "caption": lists(caption)}), path
    )
    return str(path)


def test_the_loss_is_that_of_training(sides: Any) -> None:
    """A batch of all pairs: cross entropy in both directions, by torch's own form of it."""
    image, text = sides
    tau = 0.1
    logits = image.astype(float) @ text.T.astype(float) / tau
    rows = np.log(np.exp(logits).sum(1))
    columns = np.log(np.exp(logits).sum(0))
    expected = tau * (np.diag(logits) - (rows + columns) / 2)
    member, same = np.ones((30, 1), bool), np.eye(30, dtype=bool)
    np.testing.assert_allclose(
        clip_losses(image, text, (image, text), member, same, tau), expected, atol=1e-6
    )


def test_one_pair_a_batch_and_a_caption_for_everything(sides: Any, tmp_path: Path) -> None:
    image, text = sides
    path = write(tmp_path, image, text)
    alone = utility(fit(CLIPLoss(pairs=path, batch=1), TEXTS, {}), TEXTS)
    np.testing.assert_allclose(alone, 0, atol=1e-9)
    common = np.eye(6)[0]
    image, text = unit(image + 1.5 * common), unit(text)
    text[7] = unit(image.sum(0, keepdims=True))[0]  # near to every image
    path = write(tmp_path, image, text)
    cosine = utility(fit(DFN(pairs=path), TEXTS, {}), TEXTS)
    loss = utility(fit(CLIPLoss(pairs=path, temperature=0.1), TEXTS, {}), TEXTS)
    place = [sorted(values, reverse=True).index(values[7]) for values in (cosine, loss)]
    assert place[0] < place[1]


def test_a_small_temperature_does_not_overflow(sides: Any, tmp_path: Path) -> None:
    path = write(tmp_path, *sides)
    found = utility(fit(CLIPLoss(pairs=path, temperature=1e-4), TEXTS, {}), TEXTS)
    cosine = sides[0].astype(float) @ sides[1].T.astype(float)
    hard = np.diag(cosine) - (cosine.max(1) + cosine.max(0)) / 2  # log-sum-exp is the greatest
    np.testing.assert_allclose(found, hard, atol=1e-3)


def test_cosine_norms_and_npy_files(sides: Any, tmp_path: Path) -> None:
    image, text = sides
    path = write(tmp_path, image, text)
    np.save(tmp_path / "image.npy", 3 * image.astype(np.float16))
    np.save(tmp_path / "like.npy", 2 * text[:4])
    expected = np.einsum("nd,nd->n", image, text)
    np.testing.assert_allclose(utility(fit(DFN(pairs=path), TEXTS, {}), TEXTS), expected, atol=1e-6)
    npy = DFN(pairs=path, image=str(tmp_path / "image.npy"))
    found = utility(fit(npy, TEXTS, {}), [TEXTS[3], "another", TEXTS[0]])
    np.testing.assert_allclose([found[0], found[2]], expected[[3, 0]], atol=2e-3)
    assert found[1] is None
    cosines = image.astype(float) @ text[:4].T
    like = {"pairs": path, "like": str(tmp_path / "like.npy")}
    for norm, wanted in (("inf", cosines.max(1)), ("2", np.linalg.norm(cosines, axis=1))):
        step = NormSim(norm=norm, **like)
        step.check()
        np.testing.assert_allclose(utility(fit(step, TEXTS, {}), TEXTS), wanted, atol=1e-5)


def test_rotation_changes_nothing(sides: Any, tmp_path: Path) -> None:
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))
    (tmp_path / "turned").mkdir()
    plain = CLIPLoss(pairs=write(tmp_path, *sides))
    turned = CLIPLoss(
        pairs=write(tmp_path / "turned", *(np.asarray(side @ turn, np.float32) for side in sides))
    )
    found = [utility(fit(step, TEXTS, {}), TEXTS) for step in (plain, turned)]
    np.testing.assert_allclose(*found, atol=1e-5)


def test_what_does_not_fit_is_one_line(sides: Any, tmp_path: Path) -> None:
    image, text = sides
    with pytest.raises(ConfigError, match="there is no file 'nowhere"):
        DFN(pairs="nowhere.parquet").check()
    with pytest.raises(ConfigError, match="image vectors have 6 numbers and caption vectors 5"):
        DFN(pairs=write(tmp_path, image, text[:, :5])).check()
    path = write(tmp_path, image, text)
    with pytest.raises(DataworthError, match="has no column 'pixels'"):
        DFN(pairs=path, image="pixels").check()
    np.save(tmp_path / "few.npy", image[:4])
    with pytest.raises(InputError, match=r"few.npy: has 4 rows, and .*pairs.parquet has 30"):
        DFN(pairs=path, image=str(tmp_path / "few.npy")).check()
    with pytest.raises(ConfigError, match=r"few.npy has 4 vectors of 6 numbers, the pairs have 5"):
        narrow = write(tmp_path, image[:, :5], text[:, :5])
        NormSim(pairs=narrow, like=str(tmp_path / "few.npy")).check()
    image = image.copy()
    image[12, 1] = np.nan
    with pytest.raises(InputError, match="column 'image': row 12 has numbers that are not finite"):
        DFN(pairs=write(tmp_path, image, text)).check()
    lost = fit(CLIPLoss(pairs=write(tmp_path, *sides)), ["something else"], {})
    assert utility(lost, ["something else"]) == [None]
    with pytest.raises(InputError, match="column 'image' is not text throughout"):
        DFN(pairs=path, key="image").check()


def test_lists_of_other_lengths(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    pq.write_table(pa.table({"text": ["a", "b"], "image": [[1.0], [1.0, 2.0, 3.0]]}), path)
    with pytest.raises(DataworthError, match="must hold lists of one length"):
        DFN(pairs=str(path), text="image").check()


def test_vectors_of_zeros_have_no_direction(sides: Any, tmp_path: Path) -> None:
    image, text = (side.copy() for side in sides)
    image[3] = 0
    path = write(tmp_path, image, text)
    assert utility(fit(DFN(pairs=path), TEXTS, {}), TEXTS)[3] == 0
    assert np.isfinite(np.array(utility(fit(CLIPLoss(pairs=path), TEXTS, {}), TEXTS), float)).all()
