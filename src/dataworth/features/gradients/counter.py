"""Random numbers that are a function of where they stand, never of what was drawn before.

Bits are a hash of (seed, stream, row, word), as for documents (`corpus.uid.hash_uid`): the same on
any device, in any order and in any batch. On the CPU matrices are made by Numba kernels, tile by
tile; elsewhere the same bits are made by torch where they are used.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from dataworth.corpus.uid import hash_uid

_DRAWS = 0x64726177  # the stream of `hash_uid` for draws of labels
_SIGNS = 0x7369676E
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)

_TILE = 1024  # columns whose places are known at a time
_SCATTERED = 1 << 26  # numbers that are added at a time on a GPU

# The signs that the bits of a byte stand for, the lowest first: 1 is minus.
_BYTES = (1 - 2 * ((np.arange(256)[:, None] >> np.arange(8)) & 1)).astype(np.float32)


@njit(cache=True, nogil=True)
def _mixed(value):  # type: ignore[no-untyped-def]
    """Finalise as SplitMix64 does."""
    value = (value ^ (value >> np.uint64(30))) * _MIX1
    value = (value ^ (value >> np.uint64(27))) * _MIX2
    return value ^ (value >> np.uint64(31))


@njit(cache=True, nogil=True)
def _word(key, row, word):  # type: ignore[no-untyped-def]
    """Return 64 random bits for (key, row, word)."""
    return _mixed(_mixed(row * _GOLDEN + key) + word * _MIX2 + _MIX1)


@njit(cache=True, nogil=True)
def _signs(key, first, table, out):  # type: ignore[no-untyped-def]
    """Fill `out` [rows, columns] with +1 and -1, one bit each: eight at a time, by the table."""
    rows, columns = out.shape
    for i in range(rows):
        row = first + np.uint64(i)
        for start in range(0, columns, 64):
            bits = _word(key, row, np.uint64(start // 64))
            for part in range(8):
                at = start + 8 * part
                byte = np.int64((bits >> np.uint64(8 * part)) & np.uint64(255))
                if at + 8 <= columns:
                    for j in range(8):
                        out[i, at + j] = table[byte, j]
                else:
                    for j in range(max(columns - at, 0)):
                        out[i, at + j] = table[byte, j]


@njit(cache=True, nogil=True)
def _normals(key, first, out):  # type: ignore[no-untyped-def]
    """Fill `out` [rows, columns] with standard normal numbers (Box and Muller's, in pairs)."""
    rows, columns = out.shape
    for i in range(rows):
        row = first + np.uint64(i)
        for j in range(0, columns, 2):
            bits = _word(key, row, np.uint64(j // 2))
            # 32 bits each, shifted by a half: the logarithm never meets 0.
            u = (np.float64(bits >> np.uint64(32)) + 0.5) * 2.0**-32
            v = np.float64(bits & np.uint64(0xFFFFFFFF)) * 2.0**-32
            radius = math.sqrt(-2.0 * math.log(u))
            out[i, j] = radius * math.cos(2.0 * math.pi * v)
            if j + 1 < columns:
                out[i, j + 1] = radius * math.sin(2.0 * math.pi * v)


@njit(cache=True, nogil=True)
def _scatter(key, first, width, values, out):  # type: ignore[no-untyped-def]
    """Add each column of `values` [n, columns] to one place of each part of `out` [n, parts*width].

    Part by part: place and sign are bits of (key, column, part), so each column meets every part.
    """
    rows, columns = values.shape
    parts = out.shape[1] // width
    place = np.empty((_TILE, parts), np.int64)
    sign = np.empty((_TILE, parts), np.float32)
    for start in range(0, columns, _TILE):
        count = min(_TILE, columns - start)
        for j in range(count):
            column = first + np.uint64(start + j)
            for part in range(parts):
                bits = _word(key, column, np.uint64(part))
                high = bits >> np.uint64(32)
                place[j, part] = part * width + np.int64((high * np.uint64(width)) >> np.uint64(32))
                sign[j, part] = np.float32(1.0) - np.float32(2.0) * np.float32(bits & np.uint64(1))
        for i in range(rows):
            for j in range(count):
                value = values[i, start + j]
                if value != np.float32(0.0):
                    for part in range(parts):
                        out[i, place[j, part]] += sign[j, part] * value


def key_of(seed: int, stream: int) -> np.uint64:
    """Return the key of one matrix: a hash of the seed and of what the matrix is for."""
    return np.uint64(hash_uid(seed, np.array([stream], np.uint64), _SIGNS)[0])


def signs(key: np.uint64, rows: int, columns: int, first: int = 0) -> NDArray[np.float32]:
    """Return rows `first` and on of a matrix of random signs: float32 [rows, columns]."""
    out = np.empty((rows, columns), np.float32)
    _signs(key, np.uint64(first), _BYTES, out)
    return out


def normals(key: np.uint64, rows: int, columns: int, first: int = 0) -> NDArray[np.float32]:
    """Return rows `first` and on of a standard normal matrix: float32 [rows, columns]."""
    out = np.empty((rows, columns), np.float32)
    _normals(key, np.uint64(first), out)
    return out


def scatter(
    key: np.uint64,
    values: NDArray[np.float32],
    out: NDArray[np.float32],
    width: int,
    first: int = 0,
) -> None:
    """Add `values` [n, columns], signed, into one hashed place of each `width` places of `out`.

    `first`: the number of the first column. `out`: float32 [n, parts * width].
    """
    _scatter(key, np.uint64(first), width, values, out)


def signs_on(
    device: torch.device, key: np.uint64, rows: int, columns: int, first: int = 0
) -> Tensor:
    """Return the rows of `signs`, float32, computed on a device."""
    row = torch.arange(first, first + rows, device=device)[:, None]
    word = torch.arange(-(-columns // 64), device=device)[None, :]
    bits = _word_on(key, row, word)[:, :, None] >> torch.arange(64, device=device)
    return (1 - 2 * (bits & 1)).flatten(1)[:, :columns].float()


def scatter_on(key: np.uint64, values: Tensor, out: Tensor, width: int, first: int = 0) -> None:
    """Add `values` into `out` as `scatter` does, on their device, some columns at a time."""
    parts = out.shape[1] // width
    tile = max(1, _SCATTERED // (max(len(values), 1) * parts))
    part = torch.arange(parts, device=values.device)[None, :]
    for start in range(0, values.shape[1], tile):
        some = values[:, start : start + tile].float()
        column = torch.arange(some.shape[1], device=values.device)[:, None] + first + start
        bits = _word_on(key, column, part)
        place = part * width + ((_shifted(bits, 32) * width) >> 32)
        signed = some[:, :, None] * (1 - 2 * (bits & 1)).float()
        out.index_add_(1, place.flatten(), signed.flatten(1))


def _word_on(key: np.uint64, row: Tensor, word: Tensor) -> Tensor:
    """Return the 64 bits of `_word` in int64, whose products wrap around as those of uint64 do."""
    mixed = _mixed_on(row * _signed(_GOLDEN) + _signed(key))
    return _mixed_on(mixed + word * _signed(_MIX2) + _signed(_MIX1))


def _mixed_on(value: Tensor) -> Tensor:
    value = (value ^ _shifted(value, 30)) * _signed(_MIX1)
    value = (value ^ _shifted(value, 27)) * _signed(_MIX2)
    return value ^ _shifted(value, 31)


def _shifted(value: Tensor, count: int) -> Tensor:
    """Shift to the right, zeros coming in: of signed numbers it would be copies of the sign."""
    return (value >> count) & ((1 << (64 - count)) - 1)


def _signed(bits: np.uint64) -> int:
    return int(np.int64(bits))


def _bits(seed: int, uid: NDArray[np.uint64], count: int, stream: int) -> NDArray[np.uint64]:
    rows = hash_uid(seed, uid, _DRAWS + stream)[:, None]
    return hash_uid(seed, rows + np.arange(count, dtype=np.uint64)[None, :], _DRAWS)


def uniform(
    seed: int, uid: NDArray[np.uint64], count: int, device: torch.device, stream: int = 0
) -> Tensor:
    """Draw `count` numbers in (0, 1) for each uid: float64 [n, count]."""
    bits = _bits(seed, uid, count, stream) >> np.uint64(12)
    return torch.from_numpy((bits.astype(np.float64) + 0.5) * 2.0**-52).to(device)


def normal(seed: int, uid: NDArray[np.uint64], count: int, device: torch.device) -> Tensor:
    """Draw `count` standard normal numbers for each uid: float64 [n, count]."""
    u = uniform(seed, uid, count, device, 1)
    v = uniform(seed, uid, count, device, 2)
    return torch.sqrt(-2 * torch.log(u)) * torch.cos(2 * math.pi * v)
