"""`dataworth inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

from dataworth.cli import options as o
from dataworth.cli import parsing as p
from dataworth.cli.console import begin
from dataworth.cli.show import show_inspection, show_json


def inspect(
    path: Annotated[
        list[str],
        typer.Argument(metavar="PATH", show_default=False, help="Files, folders, globs or URLs."),
    ],
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample", metavar="N", min=1, help="Look at about N documents instead of all."
        ),
    ] = None,
    text_field: o.TextField = None,
    template: o.Template = None,
    txt: o.TxtMode = None,
    max_line_bytes: o.MaxLineBytes = None,
    storage_option: o.StorageOption = None,
    workers: o.Workers = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """What is in a corpus: files, documents, fields, lengths, bad lines.

    [bold]Examples[/]

    \b
    dataworth inspect pool/
    dataworth inspect 'pool/*.jsonl.zst' --sample 10000 --json
    """
    progress = begin(quiet)
    import dataworth

    given = {"text_field": text_field, "template": template, "txt": txt, "sample": sample}
    found = dataworth.inspect(
        p.places(path),
        storage_options=p.storage_options(storage_option or []),
        engine=p.engine(workers, None),
        progress=progress,
        **p.given({**given, "max_line_bytes": max_line_bytes}),
    )
    if json:
        show_json(found.as_dict())
    else:
        show_inspection(found)
