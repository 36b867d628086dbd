"""Print the oldest versions that the core asks for in pyproject.toml, as constraints for pip."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path


def oldest(text: str) -> list[str]:
    """Return `name==version` for each requirement of the core that has a lower bound."""
    bounds = (
        re.match(r"([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?\s*>=\s*([0-9.]+)", requirement)
        for requirement in tomllib.loads(text)["project"]["dependencies"]
    )
    return [f"{bound[1]}=={bound[2]}" for bound in bounds if bound]


if __name__ == "__main__":
    path = Path(__file__).resolve().parents[1] / "pyproject.toml"
    print("\n".join(oldest(path.read_text("utf-8"))))
