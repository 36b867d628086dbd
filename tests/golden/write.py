"""Write the golden selections anew: `python -m tests.golden.write [NAME ...]`.

Only after a change that is meant to change selections, which the change's description names.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parent.parent


def main(wanted: list[str]) -> None:
    """Select by all names, or by those that are given, and write what came."""
    sys.path.insert(0, str(TESTS))
    from golden.selections import FILE, Slice, names, select

    known = json.loads(FILE.read_text()) if FILE.is_file() else {}
    with tempfile.TemporaryDirectory() as folder:
        part = Slice(Path(os.environ["DATAWORTH_TEST_DATA"]), Path(folder))
        found = {}
        for name in names():
            keep = bool(wanted) and name not in wanted and name in known
            found[name] = known[name] if keep else select(name, part)
    FILE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
