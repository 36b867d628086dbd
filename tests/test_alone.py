"""Tests that need a process of their own, in one."""

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FILES = ["features/gradients/test_second_device.py", "lm/test_second_device.py"]


@pytest.mark.parametrize("file", FILES)
def test_on_a_second_device(file: str) -> None:
    """torch counts its devices once, so a stand-in for one has to be known before all else."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "alone", str(TESTS / file)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=TESTS.parent, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:]
