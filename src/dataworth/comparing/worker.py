"""A worker process of a comparison: a line of JSON in, a line of JSON out, until the input ends.

The command line names the comparison's folder and the device.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from dataworth.errors import DataworthError


def main() -> None:
    """Serve the comparison in the folder, on the device, that the command line names."""
    # What libraries print goes to stderr, so that the answers stand alone.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    from dataworth.comparing.bench import Bench

    bench = Bench(Path(sys.argv[1]), sys.argv[2])
    with contextlib.suppress(BrokenPipeError):  # who asked is gone; what is trained is written
        for line in sys.stdin:
            answers.write(json.dumps(answer(bench, json.loads(line))) + "\n")
            answers.flush()


def answer(bench: Any, task: dict[str, Any]) -> dict[str, Any]:
    """The result of a task, or the message of its error."""
    try:
        return {"result": bench.do(task)}
    except DataworthError as error:
        return {"error": str(error)}
    except Exception as error:  # told by the process that asked; the place is in the log
        traceback.print_exc()
        return {"error": f"a training failed: {type(error).__name__}: {error}"}


if __name__ == "__main__":
    main()
