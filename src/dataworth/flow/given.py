"""From the options of a call to what works with them: fields, engines, lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dataworth.corpus.fields import Fields
from dataworth.engine.local import Engine


def as_tuple(values: Any) -> tuple[Any, ...]:
    """Return one value or several as a tuple."""
    if values is None:
        return ()
    if isinstance(values, str | Path | Mapping) or not isinstance(values, Iterable | Sequence):
        return (values,)
    return tuple(values)


def engine_of(engine: Engine | int | None) -> Engine:
    """Return an engine, or that of so many workers; None: one for each core."""
    return engine if isinstance(engine, Engine) else Engine(workers=engine or 0)


def fields_of(options: Any, groups: tuple[str, ...] = ()) -> Fields:
    """Return how documents are read, by the options of a call; what is None is as by default."""
    names = ("join", "template", "split_words", "txt", "max_line_bytes")
    read = {name: getattr(options, name, None) for name in names}
    return Fields(
        text=as_tuple(options.text_field) or ("text",),
        id=getattr(options, "id_field", None),
        groups=groups,
        **{name: value for name, value in read.items() if value is not None},
    )


def fields_beside(fields: Fields, own_text: Any, template: str | None) -> Fields:
    """Return how targets or queries are read, beside documents that are read by `fields`.

    They are read as the documents, but whole, and with a text field or a template of their own if
    these are given; `none` is no template. With another template than the documents', the text
    field is looked for anew.
    """
    same = template is None or template == (fields.template or "none")
    return Fields(
        text=as_tuple(own_text) or (fields.text if same else ("text",)),
        join=fields.join,
        template=fields.template if same else (None if template == "none" else template),
        txt=fields.txt,
        max_line_bytes=fields.max_line_bytes,
    )
