"""dataworth: what each training document is worth to a language model, and which to train on."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dataworth.version import __version__

if TYPE_CHECKING:
    from dataworth.api import (
        attribute,
        compare,
        explain,
        inspect,
        judge,
        load,
        loop,
        plan,
        preset,
        proxy,
        read_recipe,
        run_recipe,
        score,
        select,
    )
    from dataworth.attributing.attribution import Attribution
    from dataworth.comparing.comparison import Comparison
    from dataworth.engine.local import Engine
    from dataworth.engine.progress import Progress
    from dataworth.errors import DataworthError
    from dataworth.flow.inspect import Inspection
    from dataworth.flow.plan import Plan
    from dataworth.flow.proxies import Proxies
    from dataworth.flow.recipe import Recipe
    from dataworth.flow.scores import Scores
    from dataworth.flow.selection import Selection
    from dataworth.judging.judgement import Judgement
    from dataworth.options import option
    from dataworth.registry import register

_WHERE = {
    "Attribution": "dataworth.attributing.attribution",
    "Comparison": "dataworth.comparing.comparison",
    "DataworthError": "dataworth.errors",
    "Engine": "dataworth.engine.local",
    "Inspection": "dataworth.flow.inspect",
    "Judgement": "dataworth.judging.judgement",
    "Plan": "dataworth.flow.plan",
    "Progress": "dataworth.engine.progress",
    "Proxies": "dataworth.flow.proxies",
    "Recipe": "dataworth.flow.recipe",
    "Scores": "dataworth.flow.scores",
    "Selection": "dataworth.flow.selection",
    "attribute": "dataworth.api",
    "compare": "dataworth.api",
    "explain": "dataworth.api",
    "inspect": "dataworth.api",
    "judge": "dataworth.api",
    "load": "dataworth.api",
    "loop": "dataworth.api",
    "option": "dataworth.options",
    "plan": "dataworth.api",
    "proxy": "dataworth.api",
    "preset": "dataworth.api",
    "read_recipe": "dataworth.api",
    "register": "dataworth.registry",
    "run_recipe": "dataworth.api",
    "score": "dataworth.api",
    "select": "dataworth.api",
}

__all__ = [
    "Attribution",
    "Comparison",
    "DataworthError",
    "Engine",
    "Inspection",
    "Judgement",
    "Plan",
    "Progress",
    "Proxies",
    "Recipe",
    "Scores",
    "Selection",
    "__version__",
    "attribute",
    "compare",
    "explain",
    "inspect",
    "judge",
    "load",
    "loop",
    "option",
    "plan",
    "preset",
    "proxy",
    "read_recipe",
    "register",
    "run_recipe",
    "score",
    "select",
]


def __getattr__(name: str) -> Any:
    """The public names, imported when first used: `import dataworth` itself takes no time."""
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'dataworth' has no attribute {name!r}")
