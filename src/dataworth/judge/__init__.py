"""Is the selection any good?

This package shares its name with the public function `dataworth.judge`. Whichever of both Python
finds under that name (importing a package makes it an attribute of its parent), calling it judges.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from types import ModuleType
from typing import Any


class _Judge(ModuleType):
    """A module that can be called, as the public function."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return _function()(*args, **options)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(_function())


def _function() -> Any:
    # By name: nothing in this package may import what lies above it.
    return importlib.import_module("dataworth.api").judge


sys.modules[__name__].__class__ = _Judge
