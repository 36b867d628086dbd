"""Text to configuration and back: `name:variant(option=1)` becomes a frozen dataclass.

Steps and mechanisms are frozen dataclasses. A registry maps their names to the classes; the
dataclasses' fields are the only source of options, for the command line, recipes and help alike.

    name                      the defaults
    name(key=value, ...)      options by name: 1, 0.5, 1e6, "text", text, true, none, [1, 2],
                              {"a": 0.3}, and for options that are such objects: name(key=value)
    name:variant              a published variant: the class method `variant` of the class
    name:variant(key=value)   the variant with some options changed
    module:Class(key=value)   a class of any module that Python finds

A variant is a public class method that needs no arguments and returns the class's own type.
`describe` writes the text, `to_dict` the recipe's form; both are read back to an equal object.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from dataworth.errors import ConfigError
from dataworth.options import Call, fit_options, list_options, name_of, near
from dataworth.registry import Registry, importable

T = TypeVar("T")
_WORD = r"\s*([A-Za-z_][\w.-]*)\s*"
_CALL = re.compile(rf"{_WORD}(?::{_WORD})?(?:\((.*)\)\s*)?", re.S)
# A text in quotes, or a word without: up to a space, a comma or a bracket; a colon only in a URL.
_BARE = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|(?:://|[^\s,=:\[\](){}"'])+""", re.S)
_PATH = re.compile(r"(?=.*[A-Za-z])(?=.*[-/.~$*?])(?!-)[^\"']+", re.S)
_WORDS = {"true": True, "false": False, "none": None, "null": None, "inf": math.inf}
_WORDS |= {"nan": math.nan, "True": True, "False": False, "None": None}


def parse_call(text: str, registry: Mapping[str, type[T]]) -> T:
    """The object that `text` describes, of one of the registry's classes.

    Raises ConfigError for an unknown name, variant or option, a value of the wrong type, and
    text that cannot be read; the message lists what there is.
    """
    match = _CALL.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"cannot read {text!r}: write name, name:variant or name(option=value, ...)"
        )
    name, variant, arguments = match.groups()
    options = _arguments(text, arguments) if arguments and arguments.strip() else {}
    return build(name, options, registry, variant=variant)


def build(
    name: str,
    options: Mapping[str, Any],
    registry: Mapping[str, type[T]],
    *,
    variant: str | None = None,
) -> T:
    """The registry's class `name` with these options: `parse_call` without the text."""
    title = name if variant is None else f"{name}:{variant}"
    cls, variant = _find(name, variant, registry)
    fitted = fit_options(cls, options, title=title, read=lambda value: _read(value, registry))
    if variant is not None:
        base: T = variants(cls)[variant]()
        return dataclasses.replace(base, **fitted)  # type: ignore[type-var]
    missing = [o.name for o in list_options(cls) if o.required and o.name not in fitted]
    if missing:
        raise ConfigError(f"{title} needs {', '.join(missing)}: write {name}({missing[0]}=...)")
    return cls(**fitted)


def class_of(name: str, registry: Mapping[str, type[T]]) -> type[T]:
    """Return the class that `name`, `name:variant` or `module:Class` stands for."""
    name, _, variant = name.partition(":")
    return _find(name, variant or None, registry)[0]


def from_dict(value: str | Mapping[str, Any], registry: Mapping[str, type[T]]) -> T:
    """An object from a recipe: text as in `parse_call`, or `{name: {option: value}}`."""
    if isinstance(value, str):
        return parse_call(value, registry)
    if isinstance(value, Mapping) and len(value) == 1:
        name, options = next(iter(value.items()))
        if isinstance(name, str) and (options is None or isinstance(options, Mapping)):
            name, _, variant = name.partition(":")
            return build(name, options or {}, registry, variant=variant or None)
    raise ConfigError(f"cannot read {value!r}: write a name or {{name: {{option: value}}}}")


def describe(value: object, registry: Mapping[str, type[Any]], *, full: bool = False) -> str:
    """The text that `parse_call` reads back as an equal object.

    Only options that differ from their defaults are written, or all of them with `full`.
    """
    name = _name_of(value, registry)
    written = [
        f"{option.name}={_literal(getattr(value, option.name), registry)}"
        for option in list_options(type(value))
        if full or option.required or getattr(value, option.name) != option.default
    ]
    return f"{name}({', '.join(written)})" if written else name


def to_dict(
    value: object, registry: Mapping[str, type[Any]], *, run_only: bool = True
) -> dict[str, Any]:
    """Return `{name: {option: value}}` with every option, of JSON's types alone, for a recipe.

    Without `run_only`, options that cannot change a result are left out.
    """
    return {
        _name_of(value, registry): {
            option.name: _plain(getattr(value, option.name), registry, run_only)
            for option in list_options(type(value))
            if run_only or not option.run_only
        }
    }


def variants(cls: type[Any]) -> dict[str, Callable[[], Any]]:
    """The published variants of a class by name: class methods without needed arguments."""
    found: dict[str, Callable[[], Any]] = {}
    for name, member in inspect.getmembers(cls, inspect.ismethod):
        signature = inspect.signature(member)
        optional = all(
            p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
            for p in signature.parameters.values()
        )
        own = str(signature.return_annotation).rpartition(".")[2] in ("Self", cls.__name__)
        if not name.startswith("_") and optional and own:
            found[name] = member
    return found


def _find(
    name: str, variant: str | None, registry: Mapping[str, type[T]]
) -> tuple[type[T], str | None]:
    """The class that `name` or `name:variant` stands for, and its variant."""
    cls = next((registry[n] for n in (name, name.replace("-", "_")) if n in registry), None)
    if variant is None and cls is not None:
        return cls, None
    if variant is not None:
        if cls is not None and variant.replace("-", "_") in variants(cls):
            return cls, variant.replace("-", "_")
        if isinstance(registry, Registry) and importable(name):
            try:
                return registry.import_class(name, variant), None
            except ConfigError:
                if cls is None:
                    raise
    if cls is not None:
        listed = ", ".join(f"{name}:{key}" for key in variants(cls)) or "none"
        raise ConfigError(f"{name} has no variant {variant!r}; its variants: {listed}")
    raise ConfigError(
        f"there is no {name!r}{near(name, registry)}; there are: {', '.join(sorted(registry))}"
    )


def _read(value: Call | str | Mapping[str, Any], registry: Mapping[str, type[Any]]) -> Any:
    return from_dict(value.text if isinstance(value, Call) else value, registry)


def _name_of(value: object, registry: Mapping[str, type[Any]]) -> str:
    cls = type(value)
    if isinstance(registry, Registry):
        return registry.spell(cls)
    name = name_of(cls)
    if name in registry and registry[name] is cls:
        return name  # spares a registry that imports on demand from importing everything
    for name in registry:
        if registry[name] is cls:
            return name
    raise ConfigError(f"{cls.__name__} is not registered; there are: {', '.join(sorted(registry))}")


# Reading values: Python's own literals, and bare words.


def _arguments(text: str, arguments: str) -> dict[str, Any]:
    try:
        tree = ast.parse(f"_({_quoted(arguments)})", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ConfigError(f"cannot read the options of {text!r}: write option=value, ...") from None
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
        raise ConfigError(f"cannot read the options of {text!r}: write option=value, ...")
    if tree.args or any(keyword.arg is None for keyword in tree.keywords):
        raise ConfigError(f"options are given by name: write option=value in {text!r}")
    names = [keyword.arg for keyword in tree.keywords]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"the option {name} is given twice in {text!r}")
    return {str(keyword.arg): _value(keyword.value, text) for keyword in tree.keywords}


def _quoted(arguments: str) -> str:
    """The arguments with paths and patterns in quotes, where they stand without: `model=out/a-b`.

    Names, numbers and what is quoted stay as they are, and so do the names of options.
    """

    def quote(found: re.Match[str]) -> str:
        word = found[0]
        if not _PATH.fullmatch(word) or arguments[found.end() :].lstrip().startswith("="):
            return word
        try:
            float(word)
        except ValueError:
            return repr(word)
        return word

    return _BARE.sub(quote, arguments)


def _value(node: ast.expr, text: str) -> Any:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None):
            return node.value
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            value = _value(operand, text)
            if isinstance(value, int | float) and not isinstance(value, bool):
                return -value if isinstance(node.op, ast.USub) else value
        case ast.List() | ast.Tuple():
            return [_value(item, text) for item in node.elts]
        case ast.Dict():
            keys = [_value(key, text) for key in node.keys if key is not None]
            if len(keys) == len(node.values) and all(isinstance(key, str) for key in keys):
                return dict(zip(keys, (_value(item, text) for item in node.values), strict=True))
        case ast.Name():
            return _WORDS.get(node.id, node.id)
        case ast.Call(func=ast.Name()):
            return Call(ast.unparse(node))
    raise ConfigError(
        f"cannot read {ast.unparse(node)!r} in {text!r}: values are numbers, text, "
        "true, false, none, [lists] and {mappings}"
    )


# Writing values.


def _literal(value: Any, registry: Mapping[str, type[Any]]) -> str:
    if dataclasses.is_dataclass(value):
        text = describe(value, registry)
        return _text(text) if ":" in text.partition("(")[0] else text
    if isinstance(value, Mapping):
        return (
            "{" + ", ".join(f"{_text(k)}: {_literal(v, registry)}" for k, v in value.items()) + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_literal(item, registry) for item in value) + "]"
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, int | float) else _text(str(value))


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _plain(value: Any, registry: Mapping[str, type[Any]], run_only: bool) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value, registry, run_only=run_only)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, registry, run_only) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, registry, run_only) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
