"""Text to configuration and back: `name:variant(option=1)` becomes a frozen dataclass.

Steps and mechanisms are frozen dataclasses. A registry maps their names to the classes; the
dataclasses' fields are the only source of options, for the command line, recipes and help alike.

    name                      the defaults
    name(key=value, ...)      options by name: 1, 0.5, 1e6, "text", text, true, none, [1, 2],
                              {"a": 0.3}, and for options that are such objects: name(key=value)
    name:variant              a published variant: the class method `variant` of the class
    name:variant(key=value)   the variant with some options changed

A variant is a public class method that needs no arguments and returns the class's own type.
`describe` writes the text, `to_dict` the recipe's form; both are read back to an equal object.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from dataworth.errors import ConfigError

T = TypeVar("T")
_CALL = re.compile(r"\s*([A-Za-z_][\w-]*)\s*(?::\s*([A-Za-z_][\w-]*)\s*)?(?:\((.*)\)\s*)?", re.S)
# A text in quotes, or a word without: up to a space, a comma or a bracket; a colon only in a URL.
_BARE = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|(?:://|[^\s,=:\[\](){}"'])+""", re.S)
_PATH = re.compile(r"(?=.*[A-Za-z])(?=.*[-/.~$*?])(?!-)[^\"']+", re.S)
_WORDS = {"true": True, "false": False, "none": None, "null": None, "inf": math.inf}
_WORDS |= {"nan": math.nan, "True": True, "False": False, "None": None}


@dataclass(frozen=True)
class Option:
    """One option of a step or mechanism: what `dataworth methods NAME` lists."""

    name: str
    type: str
    default: Any
    required: bool


@dataclass(frozen=True)
class _Call:
    """A `name(...)` found among the options, built once the option's type is known."""

    text: str


class _MisfitError(Exception):
    """A value does not fit its option's type."""


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
    cls = _lookup(name, registry)
    title = name if variant is None else f"{name}:{variant}"
    hints = get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    fitted = {}
    for key, value in options.items():
        key = key.replace("-", "_")
        if key not in fields:
            raise ConfigError(
                f"{title} has no option {key!r}{_near(key, fields)}; its options: "
                + (", ".join(map(_shown, list_options(cls))) or "none")
            )
        try:
            fitted[key] = _fit(value, hints[key], registry)
        except _MisfitError:
            raise ConfigError(
                f"{title}: option {key} must be {_allowed(hints[key])}, "
                f"got {value.text if isinstance(value, _Call) else value!r}"
            ) from None
    if variant is not None:
        base: T = _variant(name, cls, variant)()
        return dataclasses.replace(base, **fitted)  # type: ignore[type-var]
    missing = [o.name for o in list_options(cls) if o.required and o.name not in fitted]
    if missing:
        raise ConfigError(f"{title} needs {', '.join(missing)}: write {name}({missing[0]}=...)")
    return cls(**fitted)


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


def to_dict(value: object, registry: Mapping[str, type[Any]]) -> dict[str, Any]:
    """`{name: {option: value}}` with every option, of JSON's types alone, for a recipe."""
    options = {o.name: getattr(value, o.name) for o in list_options(type(value))}
    return {
        _name_of(value, registry): {key: _plain(item, registry) for key, item in options.items()}
    }


def list_options(cls: type[Any]) -> list[Option]:
    """The options of a class, in the order of its fields."""
    hints = get_type_hints(cls)
    found = []
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        default, required = field.default, False
        if default is dataclasses.MISSING:
            required = field.default_factory is dataclasses.MISSING
            factory: Callable[[], Any] = (lambda: None) if required else field.default_factory  # type: ignore[assignment]
            default = factory()
        found.append(Option(field.name, _allowed(hints[field.name]), default, required))
    return found


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


def _lookup(name: str, registry: Mapping[str, type[T]]) -> type[T]:
    for spelled in (name, name.replace("-", "_")):
        if spelled in registry:
            return registry[spelled]
    raise ConfigError(
        f"there is no {name!r}{_near(name, registry)}; there are: {', '.join(sorted(registry))}"
    )


def _variant(name: str, cls: type[Any], variant: str) -> Callable[[], Any]:
    known = variants(cls)
    if variant.replace("-", "_") not in known:
        listed = ", ".join(f"{name}:{key}" for key in known) or "none"
        raise ConfigError(f"{name} has no variant {variant!r}; its variants: {listed}")
    return known[variant.replace("-", "_")]


def _name_of(value: object, registry: Mapping[str, type[Any]]) -> str:
    cls = type(value)
    name = getattr(cls, "name", None)
    if isinstance(name, str) and name in registry and registry[name] is cls:
        return name  # spares a registry that imports on demand from importing everything
    for name in registry:
        if registry[name] is cls:
            return name
    raise ConfigError(f"{cls.__name__} is not registered; there are: {', '.join(sorted(registry))}")


def _near(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word.replace("-", "_"), list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _shown(option: Option) -> str:
    return option.name if option.required else f"{option.name}={option.default!r}"


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
            return _Call(ast.unparse(node))
    raise ConfigError(
        f"cannot read {ast.unparse(node)!r} in {text!r}: values are numbers, text, "
        "true, false, none, [lists] and {mappings}"
    )


def _fit(value: Any, hint: Any, registry: Mapping[str, type[Any]]) -> Any:
    """`value` as the type `hint` asks for; raises _MisfitError."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is Annotated:
        return _fit(value, inner[0], registry)
    if origin in (Union, UnionType):
        return _fit_union(value, inner, registry)
    if origin is Literal:
        if value is None and "none" in inner:
            return "none"  # the bare word, which elsewhere stands for no value
        if any(value == item and type(value) is type(item) for item in inner):
            return value
        raise _MisfitError
    if origin in (list, tuple) or origin is Sequence:
        return _fit_items(value, origin, inner, registry)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise _MisfitError
        key, item = inner
        return {_fit(k, key, registry): _fit(v, item, registry) for k, v in value.items()}
    if hint in (bool, int, float, str, Path, None, NoneType):
        return _fit_scalar(value, hint)
    return _fit_object(value, hint, registry)


def _fit_union(value: Any, hints: tuple[Any, ...], registry: Mapping[str, type[Any]]) -> Any:
    # An exact type first, so that 1 stays an int where int and float are both allowed.
    for hint in sorted(hints, key=lambda hint: hint is not type(value)):
        try:
            return _fit(value, hint, registry)
        except _MisfitError:
            continue
    raise _MisfitError


def _fit_items(
    value: Any, origin: Any, inner: tuple[Any, ...], registry: Mapping[str, type[Any]]
) -> Any:
    if isinstance(value, str) and inner[0] is str and inner[1:] in ((), (Ellipsis,)):
        value = [value]  # one text where several may stand
    if not isinstance(value, list | tuple):
        raise _MisfitError
    if origin is tuple and inner[1:] != (Ellipsis,):
        if len(value) != len(inner):
            raise _MisfitError
        return tuple(_fit(v, h, registry) for v, h in zip(value, inner, strict=True))
    items = [_fit(item, inner[0], registry) for item in value]
    return items if origin is list else tuple(items)


def _fit_scalar(value: Any, hint: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is bool and isinstance(value, bool):
        return value
    if number and abs(value) >= 2**63 and isinstance(value, int):
        raise _MisfitError
    if hint is int and number and (isinstance(value, int) or value.is_integer()):
        return int(value)  # 1e6 is a whole number too
    if hint is float and isinstance(value, str):
        try:
            return float(value)  # YAML reads 1e-3 as text
        except ValueError:
            raise _MisfitError from None
    if hint is float and number:
        return float(value)
    if hint in (str, Path) and isinstance(value, str | Path):
        return hint(value)
    if hint in (None, NoneType) and value is None:
        return None
    raise _MisfitError


def _fit_object(value: Any, hint: Any, registry: Mapping[str, type[Any]]) -> Any:
    """An option that is itself a registered object, such as a mechanism within another."""
    if isinstance(value, _Call):
        return parse_call(value.text, registry)
    registered = getattr(hint, "_is_protocol", False) or hint in registry.values()
    if registered and isinstance(value, str | Mapping):
        return from_dict(value, registry)
    if registered and type(value) in registry.values():
        return value
    if inspect.isclass(hint) and not getattr(hint, "_is_protocol", False) and type(value) is hint:
        return value
    raise _MisfitError


# Writing values.


def _allowed(hint: Any) -> str:
    """A type in words, for messages and help."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _allowed(inner[0])
    if origin in (Union, UnionType):
        return " or ".join(_allowed(item) for item in inner)
    if origin is Literal:
        return " or ".join(json.dumps(item) for item in inner)
    if origin in (list, tuple) or origin is Sequence:
        return f"a list of {_allowed(inner[0])}"
    if origin in (dict, Mapping):
        return f'a mapping {{"name": {_allowed(inner[1])}}}'
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    words |= {Path: "a path", NoneType: "none"}
    return words.get(hint) or f"a {getattr(hint, '__name__', str(hint)).lower()}"


def _literal(value: Any, registry: Mapping[str, type[Any]]) -> str:
    if dataclasses.is_dataclass(value):
        return describe(value, registry)
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


def _plain(value: Any, registry: Mapping[str, type[Any]]) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value, registry)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, registry) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, registry) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
