"""The example of image-text pairs: what the contrastive loss is for."""

from __future__ import annotations

import re

import pytest

from examples import pairs


def test_main(capsys: pytest.CaptureFixture[str]) -> None:
    pairs.main()
    found = re.findall(r"^(\w+) +([\d.]+)%", capsys.readouterr().out, re.M)
    share = {name: float(percent) for name, percent in found}
    assert list(share) == ["dfn", "clip_loss", "norm_sim"]
    assert share["clip_loss"] > share["dfn"] > 57 and share["norm_sim"] < share["dfn"]
