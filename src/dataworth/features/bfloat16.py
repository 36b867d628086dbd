"""bfloat16 without a library for it: the upper 16 bits of a float32, to the nearest, ties to even.

8 binary digits, a relative error of at most 2^-9, and the range of float32. numpy has no such type:
files hold the bits as uint16, and what is read from them is float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NAME = "bfloat16"


def on_disk(dtype: str) -> np.dtype[Any]:
    """What a file of numbers of this type holds."""
    return np.dtype(np.uint16 if dtype == NAME else dtype)


def in_memory(dtype: str) -> np.dtype[Any]:
    """What numbers of this type are when they are read."""
    return np.dtype(np.float32 if dtype == NAME else dtype)


def to_disk(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Numbers as a file holds them."""
    return pack(values) if dtype == NAME else np.ascontiguousarray(values, dtype)


def from_disk(held: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Numbers as they are read from what a file holds; other types are not copied."""
    return unpack(held) if dtype == NAME else held


def pack(values: NDArray[np.floating[Any]]) -> NDArray[np.uint16]:
    """The bits of finite numbers; what is too large becomes infinite."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    return ((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)).astype(np.uint16)


def unpack(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The numbers, exactly."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def rounded(values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """The nearest numbers that bfloat16 holds."""
    return unpack(pack(values))
