"""Help texts: quick, complete, and right about the defaults."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from typer.main import get_command
from typer.testing import Result

import dataworth
from commands import run
from dataworth.cli.app import app

Invoke = Callable[..., Result]
COMMANDS = ("select", "score", "choose", "run", "explain", "judge", "compare", "inspect", "methods")
COMMANDS += ("attribute", "proxy", "loop", "swarm")
HEAVY = ("numpy", "numba", "pyarrow", "orjson", "fsspec", "tokenizers", "jinja2", "yaml")


@pytest.mark.parametrize("words", [["--help"], ["select", "--help"]])
def test_help_imports_little_and_nothing_heavy(words: list[str]) -> None:
    code = f"import sys; sys.argv = ['dataworth', *{words}]\n"
    code += "import dataworth.cli\ndataworth.cli.end = lambda code: None\n"
    code += "dataworth.cli.main()\n"
    code += f"print('HEAVY', [name for name in {HEAVY} if name in sys.modules], len(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    _, names, count = done.stdout.splitlines()[-1].split()
    assert names == "[]" and int(count) < 480


def test_help_names_the_commands(dw: Invoke) -> None:
    said = dw("--help").stdout
    assert all(f" {name} " in said for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_examples(name: str, dw: Invoke) -> None:
    done = dw(name, "--help")
    assert done.exit_code == 0
    assert "Examples" in done.stdout
    assert f"dataworth {name} " in done.stdout
    assert "[bold]" not in done.stdout and "[dim]" not in done.stdout


def test_no_command_is_shown_the_help() -> None:
    done = run()
    assert "Usage" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_version() -> None:
    done = run("--version")
    assert done.returncode == 0
    assert done.stdout == f"dataworth {dataworth.__version__}\n"


@pytest.mark.parametrize("name", ["select", "score", "judge", "loop"])
def test_every_option_of_the_function_has_a_flag(name: str) -> None:
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    flags = {parameter.name for parameter in command.params}
    parameters = set(inspect.signature(getattr(dataworth, name)).parameters)
    wanted = parameters - (
        {"engine"} if name == "judge" else set()
    )  # always threads: nothing of it is a step
    assert wanted - flags <= {"progress"}


def test_the_help_tells_the_true_defaults() -> None:
    command = get_command(app).commands["select"]  # type: ignore[attr-defined]
    told = {}
    for parameter in command.params:
        match = re.search(r"\[default: (.*)\]\[/\]", getattr(parameter, "help", None) or "")
        if match:
            told[parameter.name] = match.group(1)
    signature = inspect.signature(dataworth.select)
    sizes = {"256MB": 256_000_000, "1%": 0.01, "128MiB": 128 * 2**20}
    for name, text in told.items():
        if name not in signature.parameters:
            continue
        default = signature.parameters[name].default
        if default is None or name in ("out", "join"):
            continue  # described in words
        assert default == (sizes[text] if text in sizes else type(default)(text)), name


def test_a_command_starts_without_what_it_does_not_use() -> None:
    """Neither pandas, which pyarrow imports over the first list, nor the other applications."""
    code = "import sys, signal, dataworth.cli as c\n"
    code += "signal.signal(signal.SIGINT, c.leave)\n"
    code += "from dataworth.cli.console import begin\nbegin(True, 'select')\n"
    code += "import pyarrow as pa\npa.array([1])\n"
    code += "rooms = ('judging', 'comparing', 'attributing', 'flow.swarm', 'lm')\n"
    code += "rooms = {f'dataworth.{room}' for room in rooms} | {'pandas', 'torch'}\n"
    code += "print(sorted(rooms & set(sys.modules)))\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
