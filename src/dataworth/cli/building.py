"""Commands from options: the parameters of a command are derived from the fields of dataclasses."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import typer

from dataworth.cli import parsing as p
from dataworth.cli.options import AsJson, Shown
from dataworth.options.calls import PANELS, help_of, panel_of

_BRACKET = re.compile(r"(?<!\\)\[(?!(bold|dim|)\]|/(bold|dim|)\])")
_PARSERS: dict[str, Callable[[str], Any]] = {"size": p.size, "share": p.share}
_READ: dict[str, Callable[[Any, str], Any]] = {
    "path": lambda value, _: Path(value),
    "paths": lambda values, _: p.places(values),
    "targets": p.targets,
    "shares": lambda values, _: p.proportions(values),
    "settings": lambda values, _: p.storage_options(values),
}
_SEVERAL = ("paths", "targets", "names", "shares", "settings", "steps")


class Result(NamedTuple):
    """A command's result: a JSON value, and the function that prints it for people."""

    json: Any
    show: Callable[[], None]
    always: bool = False
    """Shown with --quiet too."""


def escaped(help: str) -> str:
    """Return a help text in which rich takes only [bold], [dim] and their ends for markup."""
    return _BRACKET.sub(r"\[", help)


def command(
    call: type[Any] | None = None,
    *more: type[Any],
    out: str | None = None,
    quiet: bool = True,
) -> Callable[[Callable[..., Result]], Callable[..., None]]:
    """Return a decorator that makes a command of a function.

    The command has the options of the Python function that `call` describes, of which the function
    gets those that were given, as keyword arguments of Python's; and those of `more`, which are
    the command's alone and come by name. `out`: the folder where none is given. `quiet`: if there
    is more to show than the result.
    """
    classes = (*(() if call is None else (call,)), *more, Shown if quiet else AsJson)

    def decorate(function: Callable[..., Result]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(**values: Any) -> None:
            from dataworth.cli.console import begin
            from dataworth.cli.show import show_json

            as_json, silent = values.pop("json"), values.pop("quiet", False)
            progress = begin(silent, function.__name__)
            arguments = {} if call is None else _given(call, values)
            alone = {name: values[name] for cls in more for name, _, _ in _fields(cls)}
            if call is not None and "progress" in call.__dataclass_fields__:
                arguments["progress"] = progress
            workers, kind = alone.pop("workers", None), alone.pop("engine", None)
            if workers or kind:
                arguments["engine"] = p.engine(workers, kind) if "engine" in values else workers
            if out is not None:
                arguments.setdefault("out", Path(out))
            result = function(*([] if call is None else [arguments]), **alone)
            if as_json:
                show_json(result.json)
            elif not silent or result.always or values.get("dry_run"):
                result.show()

        found = sorted((one for cls in classes for one in _parameters(cls)), key=lambda one: one[0])
        parameters = [one for _, one in found]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        del run.__wrapped__
        run.__doc__ = escaped(inspect.getdoc(function) or "")
        return run

    return decorate


def _fields(cls: type[Any]) -> Iterator[tuple[str, Mapping[str, Any], dataclasses.Field[Any]]]:
    for field in dataclasses.fields(cls):
        if field.metadata["command"]:
            yield field.name, field.metadata, field


def _given(call: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given, as the Python function takes them."""
    arguments = {}
    for name, about, _ in _fields(call):
        earlier = about["was"][0] if about["was"] else name
        if values.get(earlier) is not None:
            name = earlier
        value = values[name]
        if value is None or value is False or value == []:
            continue
        read = _READ.get(about["kind"])
        arguments[name] = value if read is None else read(value, f"--{name.replace('_', '-')}")
    return arguments


def _parameters(cls: type[Any]) -> Iterator[tuple[int, inspect.Parameter]]:
    """The parameters of a command that a dataclass stands for, with the place of their panels."""
    hints = get_type_hints(cls)
    for name, about, field in _fields(cls):
        kind, metavar = about["kind"], about["metavar"] or None
        hint = _plain(hints[name])
        info: dict[str, Any] = {"help": escaped(help_of(cls, name)), "show_default": False}
        if kind in _PARSERS:
            info |= {"parser": _PARSERS[kind], "metavar": metavar or kind.upper()}
            hint = int if kind == "size" else float
        elif kind in _SEVERAL:
            hint = list[_words(hint)]  # type: ignore[misc]
        elif kind == "path":
            hint = Path
        elif hint in (int, float):
            info |= {"min": about["minimum"], "max": about["maximum"], "metavar": metavar or "N"}
        elif hint is not bool and get_origin(hint) is not Literal:
            hint = str
        info.setdefault("metavar", metavar)
        if about["argument"]:
            info["metavar"] = metavar or name.upper()
            panel, parameter = "", typer.Argument(**info)
        else:
            default = _default(about, field)
            if default:
                info["help"] += f" [dim]\\[default: {default}][/]"
            flags = about["flag"].split()
            if not flags or not flags[0].startswith("--"):
                flags = [f"--{name.replace('_', '-')}", *flags]
            panel = panel_of(cls, field) or PANELS[0]
            parameter = typer.Option(*flags, rich_help_panel=panel, **info)
        needed = field.default is dataclasses.MISSING and about["shown"] is None
        empty: Any = inspect.Parameter.empty if needed else (False if hint is bool else None)
        panel_rank = PANELS.index(panel) if panel else -1
        if about["was"]:
            earlier = typer.Option(f"--{about['was'][0]}", hidden=True)
            yield panel_rank, _keyword(about["was"][0], str | None, earlier, None)
        wanted = hint if needed or hint is bool else hint | None
        yield panel_rank, _keyword(name, wanted, parameter, empty)


def _keyword(name: str, hint: Any, parameter: Any, default: Any) -> inspect.Parameter:
    annotation = Annotated[hint, parameter]
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def _words(hint: Any) -> Any:
    """Return the texts that a list may hold: any, or the words that its type names."""
    inner = get_args(hint)[0] if get_origin(hint) is list else str
    names = {name: name for name in get_args(inner)}
    return StrEnum("Word", names) if names else str


def _plain(hint: Any) -> Any:
    """Return a type without None."""
    left = [one for one in get_args(hint) if one is not NoneType]
    return left[0] if NoneType in get_args(hint) and len(left) == 1 else hint


def _default(about: Mapping[str, Any], field: dataclasses.Field[Any]) -> str:
    """Return the default as the help shows it."""
    if about["shown"] is not None:
        return str(about["shown"])
    default = field.default
    if default is dataclasses.MISSING or default is None or default is False or default == ():
        return ""
    return f"{default:g}" if isinstance(default, float) else str(default)
