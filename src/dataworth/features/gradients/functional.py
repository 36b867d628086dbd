"""A model as a function of its covered parameters, for `torch.func`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel


class Called(nn.Module):
    """`model` with other values for some of its parameters; shared ones change together."""

    def __init__(self, model: nn.Module, values: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._model = (model,)  # in a tuple: not to be found as a part of this module
        self.values = dict(values)
        self.config = getattr(model, "config", None)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the model's outputs."""
        return functional_call(self._model[0], self.values, args, kwargs)


@contextlib.contextmanager
def differentiable() -> Iterator[None]:
    """Use attention that can be differentiated twice and forwards: fused kernels cannot."""
    with sdpa_kernel(SDPBackend.MATH):
        yield
