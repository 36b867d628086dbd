"""muP: the factors of learning rates, and activations that do not grow with width."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dataworth.lm.model import build
from dataworth.lm.mup import coordinate_check, parameter_groups
from lm.lm_tools import SHAPE


def test_factors_of_the_learning_rate() -> None:
    model = build(replace(SHAPE, mup_base=8, tied=False))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {
        names[id(parameter)]: (group["factor"], group["weight_decay"])
        for group in parameter_groups(model, 0.1)
        for parameter in group["params"]
    }
    assert len(found) == len(names)
    assert found["embed.weight"] == found["read_out.weight"] == (1.0, 0.1)
    assert found["norm.weight"] == found["blocks.0.feed_norm.weight"] == (1.0, 0.0)
    for name in ("blocks.1.attention.qkv.weight", "blocks.0.feed.down.weight"):
        assert found[name] == (0.25, 0.1)


def test_without_mup_all_learn_alike() -> None:
    assert {group["factor"] for group in parameter_groups(build(SHAPE), 0.1)} == {1.0}


def test_the_read_out_is_divided_by_the_multiplier() -> None:
    plain = build(SHAPE)
    config = replace(SHAPE, mup_base=8)
    wide = build(config)
    wide.load_state_dict(plain.state_dict())
    for block in wide.blocks:
        block.attention.scale = SHAPE.attention_scale
    ids = torch.arange(10)[None]
    torch.testing.assert_close(wide(ids) * 4, plain(ids))
    assert config.attention_scale == pytest.approx(32**0.5 / 8)


def test_coordinate_check() -> None:
    flat, steep = coordinate_check(), coordinate_check(mup=False)
    assert {row.step for row in flat.table} == {0, 1, 2, 3, 4}
    assert {row.width for row in flat.table} == {32, 64, 128, 256}
    for layer, slope in flat.slopes.items():
        assert abs(slope) < 0.2, (layer, slope)
    for layer in ("block 0", "block 1", "logits"):
        assert steep.slopes[layer] > 0.3
    last = {row.width: row.size for row in steep.table if (row.layer, row.step) == ("logits", 4)}
    slope = np.polyfit(np.log(list(last)), np.log(list(last.values())), 1)[0]
    assert steep.slopes["logits"] == pytest.approx(slope)
