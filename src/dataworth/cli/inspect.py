"""`dataworth inspect`."""

from __future__ import annotations

from typing import Any

from dataworth.cli.building import Result, command
from dataworth.cli.options import Workers
from dataworth.cli.show import show_inspection
from dataworth.options.calls import InspectOptions


@command(InspectOptions, Workers)
def inspect(given: dict[str, Any]) -> Result:
    """Summarize a corpus: files, documents, fields, lengths, bad lines.

    [bold]Examples[/]

    \b
    dataworth inspect pool/
    dataworth inspect 'pool/*.jsonl.zst' --sample 10000 --json
    """
    import dataworth

    inspection = dataworth.inspect(**given)
    return Result(inspection.as_dict(), lambda: show_inspection(inspection), always=True)
