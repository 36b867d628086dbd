"""Options, declared once as fields of a frozen dataclass.

    ngrams: int = option(2, help="Longest n-gram.", minimum=1)

Types, bounds and help are read from the fields alone, and every way of building an object (Python,
`name(option=1)`, a recipe) is checked here, with one message. Those of steps and mechanisms stand
in their classes, those of the public calls in `calls.py`.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
import inspect
import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from dataworth.errors import ConfigError

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")
Read = Callable[[Any], Any]
"""Text or a mapping → the object that it describes, for options that are objects themselves."""


def option(
    default: Any = dataclasses.MISSING,
    *,
    help: str,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    run_only: bool = False,
    content: bool = False,
    factory: Any = dataclasses.MISSING,
    hash: bool | None = None,
    was: tuple[str, Mapping[str, str]] | None = None,
) -> Any:
    """Return a dataclass field that is an option of a step or mechanism.

    Parameters
    ----------
    default, factory : the value, or what makes it; without either the option must be given.
    help : one or two sentences for `dataworth methods NAME` and the documentation.
    minimum, maximum : bounds of every number in the value; bounded numbers are finite.
    above, below : bounds that are themselves not allowed.
    run_only : the option cannot change a result (a device, a batch size), so it enters no key.
    content : a model folder or data file, which enters a step's identity by its content.
    hash : as in `dataclasses.field`; False for mappings.
    was : the option's earlier name, and its earlier words with what they are now; still taken.
    """
    metadata = {
        "help": help,
        "minimum": minimum,
        "maximum": maximum,
        "above": above,
        "below": below,
        "run_only": run_only,
        "content": content,
        "was": was,
    }
    field: Any = dataclasses.field
    return field(default=default, default_factory=factory, hash=hash, metadata=metadata)


@dataclass(frozen=True)
class Option:
    """One option of a step or mechanism: what `dataworth methods NAME` lists."""

    name: str
    type: str
    default: Any
    required: bool
    help: str = ""
    run_only: bool = False
    content: bool = False


@dataclass(frozen=True)
class Call:
    """A `name(...)` found among the options, built once the option's type is known."""

    text: str


class _MisfitError(Exception):
    """A value does not fit its option's type or bounds."""


def list_options(cls: type[Any]) -> list[Option]:
    """Return the options of a class: those of its own first, then those of its bases."""
    hints = get_type_hints(cls)
    options = []
    for field in _fields(cls).values():
        default, factory = field.default, field.default_factory
        required = default is factory is dataclasses.MISSING
        if default is dataclasses.MISSING:
            default = None if factory is dataclasses.MISSING else factory()
        kind = allowed(hints[field.name]) + _bounds(field.metadata)
        more = {key: field.metadata.get(key, False) for key in ("run_only", "content")}
        text = field.metadata.get("help", "")
        options.append(Option(field.name, kind, default, required, text, **more))
    own = inspect.get_annotations(cls)
    return sorted(options, key=lambda item: item.name not in own)


def fit_options(
    cls: type[Any], values: Mapping[str, Any], *, title: str = "", read: Read | None = None
) -> dict[str, Any]:
    """Return the values as the options of a class take them.

    Raises ConfigError for an option that there is not, and a value of the wrong type or size.
    """
    title = title or name_of(cls)
    hints, fields = get_type_hints(cls), _fields(cls)
    fitted = {}
    for key, value in values.items():
        key, value = renamed(title, fields, key.replace("-", "_"), value)
        if key not in fields:
            raise ConfigError(
                f"{title} has no option {key!r}{near(key, fields)}; its options: "
                + (", ".join(map(_shown, list_options(cls))) or "none")
            )
        metadata = fields[key].metadata
        try:
            fitted[key] = _fit(value, hints[key], read)
            _check_bounds(fitted[key], metadata)
        except _MisfitError:
            raise ConfigError(
                f"{title}: option {key} must be {allowed(hints[key])}{_bounds(metadata)}, "
                f"got {value.text if isinstance(value, Call) else value!r}"
            ) from None
    return fitted


def renamed(
    title: str, fields: Mapping[str, dataclasses.Field[Any]], key: str, value: Any
) -> tuple[str, Any]:
    """Return an option's name and value as they are now; earlier ones are taken, with a note."""
    for name, field in fields.items():
        was: tuple[str, Mapping[str, str]] = field.metadata.get("was") or ("", {})
        earlier, words = was
        if key == earlier and key not in fields:
            written = "none" if value is None else value  # as a text has it
            now = words.get(written, value) if isinstance(written, str) else value
            _note(f"{title}: {key}={written} is now called {name}={now}; the old name will go")
            return name, now
    return key, value


@functools.cache
def _note(text: str) -> None:
    """Log a warning once."""
    logging.getLogger("dataworth").warning("%s", text)


def checked(cls: type[T]) -> type[T]:
    """Make a dataclass's constructor check its options before anything else sees them."""
    init = cls.__init__
    names = [field.name for field in _fields(cls).values() if not field.kw_only]

    @functools.wraps(init)
    def __init__(self: Any, *values: Any, **options: Any) -> None:  # noqa: N807
        if len(values) > len(names) or set(names[: len(values)]) & set(options):
            init(self, *values, **options)  # raises Python's own error
        named = dict(zip(names, values, strict=False))
        init(self, **fit_options(type(self), {**named, **options}))

    cls.__init__ = __init__  # type: ignore[method-assign]
    return cls


def public(options: type[Any], work: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator of a written-out signature, whose body is never run.

    A call makes `options` of its arguments and hands them to the function `work`, written
    "module:function" and imported when it is called. Arguments that are no options, such as `self`,
    go before.
    A keyword that there is not is refused by ConfigError, with the nearest.
    """
    fields = {field.name: field for field in dataclasses.fields(options)}

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        parameters = signature.parameters

        @functools.wraps(function)
        def call(*values: P.args, **given: P.kwargs) -> R:
            named = dict(renamed(function.__name__, fields, *item) for item in given.items())
            for key in named:
                if key not in parameters:
                    hint = near(key, parameters) or f"; its options: {', '.join(parameters)}"
                    raise ConfigError(f"{function.__name__} has no option {key!r}{hint}")
            arguments = signature.bind(*values, **named).arguments
            before = [value for name, value in arguments.items() if name not in fields]
            module, _, name = work.partition(":")
            run = getattr(importlib.import_module(module), name)
            result: R = run(*before, options(**{k: v for k, v in arguments.items() if k in fields}))
            return result

        call.work = work  # type: ignore[attr-defined]
        call.options = options  # type: ignore[attr-defined]
        return call

    return decorate


def check(settings: Any) -> None:
    """Raise ConfigError for an option of a dataclass whose value is of another type or size.

    Call it in `__post_init__`: values are kept as their options take them, 1e6 as a whole number.
    """
    cls: Any = type(settings)
    hints = _hints(cls)
    for name, field in _fields(cls).items():
        value, hint = getattr(settings, name), hints[name]
        if "minimum" not in field.metadata:
            continue
        try:
            fitted = _fit(value, hint, None)
            _check_bounds(fitted, field.metadata)
        except _MisfitError:
            shown = repr(value if isinstance(value, int | float) else str(value)[:60])
            raise ConfigError(
                f"{name} must be {_wanted(hint, value, field)}, not {shown}"
            ) from None
        object.__setattr__(settings, name, fitted)


def _wanted(hint: Any, value: Any, field: dataclasses.Field[Any]) -> str:
    """Words of what is missing in a value: its type, or the bounds of that type."""
    inner = [one for one in get_args(hint) if one is not NoneType]
    if get_origin(hint) in (Union, UnionType) and len(inner) == 1:
        hint = inner[0]
    if get_origin(hint) is Literal:
        *first, last = get_args(hint)
        return f"{', '.join(first)} or {last}" if first else str(last)
    low, high, above, below = (
        field.metadata.get(key) for key in ("minimum", "maximum", "above", "below")
    )
    number = isinstance(value, Real) and not isinstance(value, bool)
    whole = not number or (isinstance(value, int) and abs(value) < 2**63) or hint is float
    if hint not in (int, float) or not (number and whole) or low is high is above is below is None:
        return allowed(hint) + (" of at most 64 bits" if hint in (int, float) else "")
    if low is not None and high is not None:
        return f"between {low:,} and {high:,}"
    words = [f"{word} {bound:,}" for word, bound in
             (("above", above), ("at least", low), ("at most", high), ("below", below))
             if bound is not None]  # fmt: skip
    return " and ".join(words)


@functools.cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    return get_type_hints(cls)


def name_of(cls: type[Any]) -> str:
    """Return the name of a step or mechanism, or that of its class if it has none."""
    name = getattr(cls, "name", None)
    return name if isinstance(name, str) else cls.__name__


def near(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for what is written much like a word; else nothing."""
    close = difflib.get_close_matches(word.replace("-", "_"), list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _fields(cls: type[Any]) -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for field in dataclasses.fields(cls) if field.init}


def _shown(option: Option) -> str:
    return option.name if option.required else f"{option.name}={option.default!r}"


# Types and bounds of values.


def _fit(value: Any, hint: Any, read: Read | None) -> Any:
    """`value` as the type `hint` asks for; raises _MisfitError."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is Annotated:
        return _fit(value, inner[0], read)
    if origin in (Union, UnionType):
        return _fit_union(value, inner, read)
    if origin is Literal:
        if value is None and "none" in inner:
            return "none"  # the bare word, which elsewhere stands for no value
        if any(value == item and type(value) is type(item) for item in inner):
            return value
        raise _MisfitError
    if origin in (list, tuple) or origin is Sequence:
        return _fit_items(value, origin, inner, read)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise _MisfitError
        key, item = inner
        return {_fit(k, key, read): _fit(v, item, read) for k, v in value.items()}
    if hint in (bool, int, float, str, Path, None, NoneType):
        return _fit_scalar(value, hint)
    return _fit_object(value, hint, read)


def _fit_union(value: Any, hints: tuple[Any, ...], read: Read | None) -> Any:
    # An exact type first, so that 1 stays an int where int and float are both allowed.
    for hint in sorted(hints, key=lambda hint: hint is not type(value)):
        try:
            return _fit(value, hint, read)
        except _MisfitError:
            continue
    raise _MisfitError


def _fit_items(value: Any, origin: Any, inner: tuple[Any, ...], read: Read | None) -> Any:
    if isinstance(value, str | Path) and inner[0] is str and inner[1:] in ((), (Ellipsis,)):
        value = [value]  # one text where several may stand
    if not isinstance(value, list | tuple):
        raise _MisfitError
    if origin is tuple and inner[1:] != (Ellipsis,):
        if len(value) != len(inner):
            raise _MisfitError
        return tuple(_fit(v, h, read) for v, h in zip(value, inner, strict=True))
    items = [_fit(item, inner[0], read) for item in value]
    return items if origin is list else tuple(items)


def _fit_scalar(value: Any, hint: Any) -> Any:
    number = isinstance(value, Real) and not isinstance(value, bool)
    if hint is bool and isinstance(value, bool):
        return value
    if number and abs(value) >= 2**63 and isinstance(value, Integral):
        raise _MisfitError
    if hint is int and number and (isinstance(value, Integral) or float(value).is_integer()):
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


def _fit_object(value: Any, hint: Any, read: Read | None) -> Any:
    """Return an option that is itself an object, such as a mechanism within another."""
    protocol = getattr(hint, "_is_protocol", False)
    if isinstance(value, Call | str | Mapping):
        if read is None:
            raise _MisfitError
        value = read(value)
    elif protocol:
        verbs = [name for name in vars(hint) if not name.startswith("_")]
        if inspect.isclass(value) or not all(hasattr(value, name) for name in verbs):
            raise _MisfitError
    if not protocol and not (inspect.isclass(hint) and isinstance(value, hint)):
        raise _MisfitError
    return value


def _check_bounds(value: Any, bounds: Mapping[str, Any]) -> None:
    """Raise _MisfitError for a number in the value that is none, or outside the bounds."""
    if isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            _check_bounds(item, bounds)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        low, high, above, below = map(bounds.get, ("minimum", "maximum", "above", "below"))
        wrong = (low is not None and value < low) or (high is not None and value > high)
        wrong |= (above is not None and value <= above) or (below is not None and value >= below)
        bounded = not (low is high is above is below is None)
        if wrong or math.isnan(value):
            raise _MisfitError
        if bounded and math.isinf(value):
            raise _MisfitError


def _bounds(bounds: Mapping[str, Any]) -> str:
    """Bounds in words, in brackets, with a space before; nothing where there are none."""
    low, high, above, below = map(bounds.get, ("minimum", "maximum", "above", "below"))
    words = [] if above is None else [f"above {above:,g}"]
    words += [] if below is None else [f"below {below:,g}"]
    if low is not None and high is not None:
        words.append(f"between {low:,} and {high:,}")
    elif low is not None:
        words.append(f"{low:,} or more")
    elif high is not None:
        words.append(f"at most {high:,}")
    return f" ({', '.join(words)})" if words else ""


def allowed(hint: Any) -> str:
    """Return a type in words, for messages and help."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return allowed(inner[0])
    if origin in (Union, UnionType):
        return " or ".join(allowed(item) for item in inner)
    if origin is Literal:
        return " or ".join(json.dumps(item) for item in inner)
    if origin in (list, tuple) or origin is Sequence:
        return f"a list of {allowed(inner[0])}"
    if origin in (dict, Mapping):
        return f'a mapping {{"name": {allowed(inner[1])}}}'
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    words |= {Path: "a path", NoneType: "none"}
    return words.get(hint) or f"a {getattr(hint, '__name__', str(hint)).lower()}"
