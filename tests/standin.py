"""A second device that a CPU stands for: torch's PrivateUse1 with a backend of Python.

    mode = install()
    with mode:                                  # all work is done inside
        model.to("standin:0") ...
    mode.transfers, mode.mixed, mode.waits

A tensor of the device is a `There` around one of the CPU, and each operation is done on the CPU, so
numbers are the CPU's, bit for bit. What a GPU refuses is refused: an operation on tensors of both
devices, unless one is a single number; `.numpy()` of a tensor that was not moved. What a GPU allows
but is slow is counted: values that are waited for (`bool`, `float`, `nonzero`), indices that lie
elsewhere.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "standin"
_aten = torch.ops.aten
_MOVES = {_aten._to_copy.default, _aten.copy_.default}
_WAITS = {
    _aten._local_scalar_dense.default: "item",
    _aten.nonzero.default: "nonzero",
    _aten.masked_select.default: "masked_select",
    _aten.repeat_interleave.Tensor: "repeat_interleave",
}
_INDEXED = ("index", "index_put", "index_put_", "_index_put_impl_")


class There(torch.Tensor):
    """A tensor of the device; `here`: its numbers."""

    here: torch.Tensor

    @staticmethod
    def __new__(cls, here: torch.Tensor) -> There:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            here.size(),
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=torch.device(NAME, 0),
            requires_grad=False,
        )
        made.here = here
        return made

    def __init__(self, here: torch.Tensor) -> None:
        super().__init__()

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _mode().run(func, args, kwargs or {})


class StandIn(TorchDispatchMode):
    """Carries operations out, and notes what a GPU would refuse or wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.transfers: Counter[str] = Counter()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.run(func, args, kwargs or {})

    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        values = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
        there = [x for x in values if isinstance(x, There)]
        wanted = kwargs.get("device")
        away = bool(there) if wanted is None else torch.device(wanted).type == NAME
        if not there and not away:
            return func(*args, **kwargs)
        self._check(func, args, values, there)
        if "device" in kwargs:
            kwargs = {**kwargs, "device": torch.device("cpu")}
        if kwargs.get("pin_memory"):
            kwargs = {**kwargs, "pin_memory": False}
        if func is _aten._to_copy.default:
            here = isinstance(args[0], There)
            if here != away:
                self.transfers["away" if away else "home"] += 1
        if func is _aten.copy_.default and not isinstance(args[0], There):
            away = False
            self.transfers["home"] += 1
        args, kwargs = tree_map(_inner, (args, kwargs))
        found = func(*args, **kwargs)
        return self._wrapped(func, found, args, values, away)

    def _check(self, func: Any, args: Any, values: list[Any], there: list[Any]) -> None:
        self.operations += 1
        if func in _WAITS:
            self.waits[_WAITS[func]] += 1
        if func in _MOVES or not there:
            return
        if func._schema.name.removeprefix("aten::") in _INDEXED:
            if any(x is not None and x.dtype == torch.bool for x in args[1]):
                self.waits["mask"] += 1
            elsewhere = [x for x in args[1] if x is not None and not isinstance(x, There)]
            if elsewhere and isinstance(args[0], There):
                self.transfers["indices"] += 1
                values = [x for x in values if not any(x is y for y in elsewhere)]
        strange = [x for x in values if not isinstance(x, There) and x.dim()]
        if strange:
            raise RuntimeError(
                f"{func}: expected all tensors to be on one device, but one of shape "
                f"{tuple(strange[0].shape)} is on the cpu"
            )

    def _wrapped(self, func: Any, found: Any, args: Any, values: list[Any], away: bool) -> Any:
        known = {id(x.here): x for x in values if isinstance(x, There)}

        def outer(value: Any) -> Any:
            if not isinstance(value, torch.Tensor) or not away:
                return value
            return known[id(value)] if id(value) in known else There(value)

        return tree_map(outer, found)


def _inner(value: Any) -> Any:
    return value.here if isinstance(value, There) else value


@cache
def _mode() -> StandIn:
    return StandIn()


@cache
def install() -> StandIn:
    """Register the device, once in a process; the mode to work in."""
    _setup_privateuseone_for_python_backend(NAME, _Module())
    return _mode()


class _Module:
    """What torch asks of a device."""

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def synchronize(self, device: Any = None) -> None:
        return None

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        return None

    def get_rng_state(self, device: Any = None) -> torch.Tensor:
        return torch.empty(0, dtype=torch.uint8)

    def set_rng_state(self, state: Any, device: Any = None) -> None:
        return None
