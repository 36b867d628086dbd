"""Steps and mechanisms by name: those of dataworth, of other packages, and of this process.

A built-in one is a file of its name whose class is marked `@register`; it is imported when it is
first asked for, so that naming it costs nothing. Other packages offer theirs by entry points of the
groups `dataworth.methods` and `dataworth.mechanisms`, and any class is reached as `module:Class`.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import logging
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from typing import Any, TypeVar

from dataworth.errors import ConfigError
from dataworth.options import checked

T = TypeVar("T")
log = logging.getLogger("dataworth")
_NAME = re.compile(r"[A-Za-z_]\w*")


class Registry(Mapping[str, type[Any]]):
    """Name to class, imported on demand.

    `kind`: in words. `package`: where the built-in ones lie. `group`: of entry points. `verb`: the
    method that makes a class one of them.
    """

    def __init__(self, kind: str, package: str, group: str, verb: str) -> None:
        self.kind, self.package, self.group, self.verb = kind, package, group, verb
        self._registered: dict[str, type[Any]] = {}

    @cached_property
    def built_in(self) -> frozenset[str]:
        """The names of dataworth's own."""
        sources = [file for file in files(self.package).iterdir() if file.name.endswith(".py")]
        marked = [file for file in sources if "\n@register\n" in file.read_text("utf-8")]
        return frozenset(file.name.removesuffix(".py") for file in marked)

    @cached_property
    def plugins(self) -> dict[str, list[EntryPoint]]:
        """Entry points of other packages, by name; a name of dataworth's own stays its own."""
        offered: dict[str, list[EntryPoint]] = defaultdict(list)
        for entry in entry_points(group=self.group):
            if entry.name not in self.built_in:
                offered[entry.name].append(entry)
        return dict(offered)

    def __getitem__(self, name: str) -> type[Any]:
        if name not in self._registered and name in self.built_in:
            importlib.import_module(f"{self.package}.{name}")
        if name not in self._registered and name in self.plugins:
            self._registered[name] = self._plugin(name)
        return self._registered[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self.built_in, *self.plugins, *self._registered}))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def listed(self) -> Iterator[tuple[str, type[Any]]]:
        """Yield names and classes, with a warning in place of a plugin that cannot be loaded."""
        for name in self:
            try:
                yield name, self[name]
            except ConfigError as error:
                log.warning("%s", error)

    def offered_by(self, name: str) -> str:
        """Return the package that offers a name; empty for dataworth's own and this process's."""
        return ", ".join(sorted({_package(entry) for entry in self.plugins.get(name, ())}))

    def add(self, cls: type[Any]) -> None:
        """Make a class known by its name."""
        self.check(cls, f"{cls.__module__}:{cls.__qualname__}")
        own = cls.__module__.startswith(f"{self.package}.")
        if cls.name in self.built_in and not own:
            raise ConfigError(
                f"{cls.__module__}:{cls.__qualname__}: the {self.kind} {cls.name!r} is dataworth's "
                "own; choose another name"
            )
        self._registered[cls.name] = cls

    def check(self, cls: object, where: str) -> None:
        """Raise ConfigError unless an object is a class of this kind; `where` it is from."""
        name = getattr(cls, "name", None)
        wrong = not (isinstance(cls, type) and dataclasses.is_dataclass(cls))
        if wrong or not callable(getattr(cls, self.verb, None)) or not isinstance(name, str):
            raise ConfigError(
                f"{where} is no {self.kind}: that is a frozen dataclass with a class variable "
                f"'name' and a method '{self.verb}'"
            )
        if left := ", ".join(sorted(getattr(cls, "__abstractmethods__", ()))):
            raise ConfigError(f"{where} leaves open what its base asks for: {left}")
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{where}: name is made of letters, digits and _, not {name!r}")

    def spell(self, cls: type[Any]) -> str:
        """Return what a class is called in records: its name where that leads back, or its place.

        A class that was made within a function has no place, so its name is kept for this process.
        Raises ConfigError for a class that is none of this kind.
        """
        where = f"{cls.__module__}:{cls.__qualname__}"
        self.check(cls, where)
        name: str = cls.name
        lasting = name in self.built_in or name in self.plugins
        if not lasting and "<locals>" in where:
            lasting = self._registered.setdefault(name, cls) is cls
        return name if lasting and self[name] is cls else where

    def import_class(self, module: str, path: str) -> type[Any]:
        """Return the class `module:path`. Raises ConfigError with the cause if there is none."""
        where = f"{module}:{path}"
        try:
            target: Any = importlib.import_module(module)
            for name in path.split("."):
                target = getattr(target, name)
        except AttributeError:
            raise ConfigError(f"{where}: the module {module} has no such class") from None
        except (Exception, SystemExit) as error:
            raise ConfigError(
                f"{where}: cannot be imported ({_line(error)}); PYTHONPATH=FOLDER makes the "
                "modules of a folder known"
            ) from error
        self.check(target, where)
        cls: type[Any] = target
        return cls

    def _plugin(self, name: str) -> type[Any]:
        entries = self.plugins[name]
        packages = self.offered_by(name)
        if len({entry.value for entry in entries}) > 1:
            raise ConfigError(
                f"the {self.kind} {name!r} is offered by several packages ({packages}): "
                f"write module:Class, such as {entries[0].value}"
            )
        where = f"{name} of the package {packages} ({entries[0].value})"
        try:
            cls = entries[0].load()
        except (Exception, SystemExit) as error:
            raise ConfigError(f"{where}: cannot be loaded ({_line(error)})") from error
        self.check(cls, where)
        if cls.name != name:
            raise ConfigError(f"{where}: its class has the name {cls.name!r}")
        found: type[Any] = cls
        return found


STEPS = Registry("step", "dataworth.methods", "dataworth.methods", "fit")
MECHANISMS = Registry("mechanism", "dataworth.mechanism", "dataworth.mechanisms", "order")


def register(cls: type[T]) -> type[T]:
    """Make a frozen dataclass a step or mechanism that is known by its `name`.

    Its constructor then checks types and bounds of the options (`dataworth.option`).

    Raises
    ------
    ConfigError
        For a class that is neither, or a name that is dataworth's own.
    """
    registry = MECHANISMS if hasattr(cls, MECHANISMS.verb) else STEPS
    registry.add(cls)
    return checked(cls)


def importable(module: str) -> bool:
    """Return whether a word may be a module's name: one with dots, or one that is found."""
    try:
        return "." in module or module in sys.modules or bool(importlib.util.find_spec(module))
    except (ImportError, ValueError):
        return False


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__
