"""Results on the terminal."""

from __future__ import annotations

import json as text_json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from textwrap import fill, indent
from typing import TYPE_CHECKING, Any

from dataworth.cli.building import Result

if TYPE_CHECKING:
    from rich.console import Console

    from dataworth import Inspection, Plan, Scores, Selection
    from dataworth.flow.catalogue import Described
    from dataworth.flow.inspect import FieldFacts
    from dataworth.flow.inventory import Stored
    from dataworth.flow.passing import Passing


def console() -> Console:
    """Return a console that prints results on stdout, without highlighting."""
    from rich.console import Console

    return Console(highlight=False)


def show_json(value: Any) -> None:
    """One JSON value on stdout; what is not a finite number is null."""
    print(text_json.dumps(_finite(value), indent=2, default=str))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def selected(selection: Selection) -> Result:
    """Return the summary of a selection, and where everything lies."""

    def show() -> None:
        from dataworth.report import summary

        folder = selection.scores.folder
        summary.show(selection.metrics, console())
        names = {"data": "data", "report": "report.html", "run": "run.json"}
        show_places({name: folder / file for name, file in names.items()})

    return Result(selection.metrics, show)


def show_places(places: Mapping[str, Any]) -> None:
    """Print the written paths, one on a line and never folded, so that they can be copied."""
    out = console()
    width = max(map(len, places))
    out.print()
    for name, place in places.items():
        out.print(f"{name:<{width}}  {place}", soft_wrap=True, markup=False)


def scored(scores: Scores) -> Result:
    """Return what a scored pool holds, and what to do with it."""
    facts = scores.facts()

    def show() -> None:
        rows = [("read", f"{facts['documents']:,}", "documents")]
        rows += [(f"bad: {reason}", f"{n:,}", "lines") for reason, n in facts["bad"].items()]
        rows += [(f"  dropped: {reason}", f"{n:,}", "") for reason, n in facts["dropped"].items()]
        rows.append(("may be chosen", f"{facts['eligible']:,}", ""))
        _table([*rows, ("by", ", ".join(facts["utilities"]), "")])
        folder = scores.folder
        command = shlex.join(["dataworth", "choose", str(folder), "--budget", "10%"])
        show_places({"table": folder / "table", "run": folder / "run.json", "next": command})

    return Result(facts, show)


def show_stored(stored: Sequence[Stored], *, removed: bool) -> None:
    """The folders of a run, their size, and whether they are needed."""
    from dataworth.results import format as f

    rest = "removed" if removed else "not needed"
    rows = [(one.folder, f.size(one.bytes), "" if one.needed else rest) for one in stored]
    total = sum(one.bytes for one in stored)
    _table([*rows, ("in all" if not removed else "removed in all", f.size(total), "")])


def show_rates(rules: Sequence[Passing]) -> None:
    """Print for each rule the share that passes it alone, and what it removed in its turn."""
    from dataworth.results import format as f

    rows = [("step", "rule", "passes alone", "removed in turn", "of what came")]
    for one in rules:
        alone = "" if one.alone is None else f.share(one.alone)
        share = f.share(one.removed / one.entered) if one.entered else ""
        rows.append((one.step, one.rule, alone, f"{one.removed:,}", share))
    _table(rows)


def planned(options: Mapping[str, Any]) -> Result:
    """Return what a run with these options would read and need."""
    import dataworth

    plan = dataworth.plan(**options)
    return Result(plan.as_dict(), lambda: _show_plan(plan))


def _show_plan(plan: Plan) -> None:
    from dataworth.results import format as f

    rows = []
    for item in plan.reads:
        kind = ".".join(filter(None, [item["format"], item["compression"]]))
        files = f.counted(item["files"], "file")
        rows.append((item["role"], f"{files} of {kind}, {f.size(item['bytes'])}"))
    rows += [
        ("documents", f"about {f.short(plan.documents)}"),
        ("text", f"about {f.size(plan.text_bytes)}"),
        ("units", f"{plan.units:,}, {plan.workers} at a time"),
        ("time", f"about {f.duration(plan.seconds)}"),
        ("memory", f"about {f.size(plan.memory_bytes)}"),
        ("disk", _disk(plan)),
    ]
    _heading("Would read and need")
    _table(rows)
    _heading("Settings")
    _table(list(_settings(plan.settings)))
    states = {
        "new": "a new run",
        "resumes": "goes on with the run that is there",
        "overwrites": "starts afresh: the run that is there is removed",
        "refused": "refused: holds a run with another configuration (--overwrite starts afresh)",
    }
    _heading("Folder")
    _table([(str(plan.out or "in memory"), states[plan.state])])
    for change in plan.changes:
        print(f"  {change}")


def _disk(plan: Plan) -> str:
    from dataworth.results import format as f

    said = f"about {f.size(plan.disk_bytes)}"
    if plan.free_bytes is not None:
        short = " - NOT ENOUGH" if plan.free_bytes < plan.disk_bytes else ""
        said += f" of {f.size(plan.free_bytes)} free{short}"
    return said


def _settings(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield the settings that say something, one a row."""
    for key, item in value.items():
        if key == "target_fields" and item == value.get("fields"):
            continue
        if key == "steps":
            yield from ((f"{before}step", _call(step)) for step in item)
        elif isinstance(item, Mapping) and item:
            yield from _settings(item, f"{before}{key}.")
        elif item not in (None, [], {}):
            plain = isinstance(item, str) and item.split() == [item]
            yield f"{before}{key}", item if plain else text_json.dumps(item)


def _call(step: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a step of a configuration as it is written on the command line."""
    name, options = next(iter(step.items()))
    said = [f"{key}={text_json.dumps(value)}" for key, value in options.items()]
    return f"{name}({', '.join(said)})"


def show_inspection(found: Inspection) -> None:
    """Print the summary of a corpus: files, documents, fields, lengths, bad lines."""
    from dataworth.results import format as f
    from dataworth.results.inert import visible

    rows = []
    for item in found.files:
        kind = ".".join(filter(None, [item["format"], item["compression"]]))
        rows.append(("files", f"{item['files']:,} of {kind}, {f.size(item['bytes'])}"))
    part = "" if found.complete else " (of the part that was read)"
    rows += [
        ("documents", f"{found.documents:,}{part}"),
        ("text", f"{f.size(found.text_bytes)}, about {f.short(found.text_bytes / 4)} tokens{part}"),
        (
            "read by",
            f"template {found.template}" if found.template else ", ".join(found.text_field),
        ),
    ]
    if found.blank:
        rows.append(("blank lines", f"{found.blank:,}"))
    rows.append(("bad lines", f"{sum(found.bad.values()):,}{part}"))
    _table(rows)
    if found.lengths:
        _heading("Length of text in bytes")
        names = {0.0: "shortest", 0.5: "median", 1.0: "longest"}
        _table([(names.get(q, f"{q:.0%}"), f"{n:,}") for q, n in found.lengths.items()])
    if found.fields:
        _heading(f"Fields of {found.rows_looked_at:,} rows")
        _table([(visible(x.name, 60), f"{x.rows:,}", _types(x), _values(x)) for x in found.fields])
    for reason, count in found.bad.items():
        _heading(f"Bad: {reason.replace('_', ' ')} ({count:,})")
        for example in found.examples.get(reason, []):
            place = example.line if example.line is not None else f"byte {example.offset}"
            print(f"  {example.file}:{place}  {visible(example.detail, 200)}")
    if found.suggestion:
        _heading("There is no field 'text'")
        print(f"  read with {visible(found.suggestion, 200)}")


def _types(fact: FieldFacts) -> str:
    if len(fact.types) == 1:
        return next(iter(fact.types))
    return ", ".join(f"{name} {count:,}" for name, count in fact.types.items())


def _values(fact: FieldFacts) -> str:
    phrases = []
    if fact.mean_length is not None:
        phrases.append(f"about {fact.mean_length:,.0f} characters")
    if fact.distinct is not None and 2 * fact.distinct <= fact.rows:
        phrases.append(f"{fact.distinct:,} values")
    return ", ".join(phrases)


def show_methods(found: Sequence[Described]) -> None:
    """The steps, mechanisms and mixtures, a table each."""
    titles = {"step": "Steps", "mechanism": "Mechanisms", "mixture": "Mixtures"}
    for kind, title in ((kind, f"{title} (--{kind})") for kind, title in titles.items()):
        _heading(title)
        rows = []
        for item in (item for item in found if item.kind == kind):
            by = f" (of {item.package})" if item.package else ""
            rows.append((item.name, item.summary + by))
            rows += [(f"{item.name}:{name}", said) for name, said in item.variants.items()]
        _table(rows)


def show_method(item: Described) -> None:
    """One step, mechanism or mixture with its variants and options."""
    by = f" of {item.package}" if item.package else ""
    _heading(f"{item.name}, a {item.kind}{by}")
    paragraphs = f"{item.source}\n\n{item.description}".split("\n\n")
    print("\n\n".join(fill(paragraph, 80) for paragraph in paragraphs))
    if item.variants:
        _heading("Variants")
        _table([(f"{item.name}:{name}", said) for name, said in item.variants.items()])
    if item.options:
        _heading("Options")
    for option in item.options:
        default = "needed" if option["required"] else text_json.dumps(option["default"])
        line = f"{option['name']}  {default}  {option['type']}"
        print(fill(line, 80, subsequent_indent="    ", break_on_hyphens=False))
        print(indent(fill(option["help"], 76), "    "))


def _heading(text: str) -> None:
    from rich.text import Text

    out = console()
    out.print()
    out.print(Text(text, style="bold"), soft_wrap=True)


def _table(rows: Sequence[tuple[str, ...]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*map(Text, row))
    console().print(table)
