"""The documentation's pages: their links, the references that are generated, and the site."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from typer.main import get_command

from dataworth.cli.app import app
from dataworth.flow.catalogue import catalogue

ROOT = Path(__file__).parents[2]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


docsite = load("docsite")
PAGES = [*docsite.pages(), *ROOT.glob("*.md"), *(ROOT / "examples").rglob("*.md")]
PAGES += (ROOT / ".github").rglob("*.md")


@pytest.fixture(scope="module")
def generated() -> dict[Path, str]:
    return {docsite.DOCS / address: write() for address, write in docsite.GENERATED.items()}


@pytest.mark.parametrize("page", sorted({path.relative_to(ROOT).as_posix() for path in PAGES}))
def test_links_lead_somewhere(page: str, generated: dict[Path, str]) -> None:
    path, broken = ROOT / page, []
    for _, address in docsite.links(path.read_text("utf-8")):
        if re.match(r"[a-z]+:", address):
            continue
        name, _, anchor = address.partition("#")
        goal = Path(os.path.normpath(path.parent / name)) if name else path
        text = generated.get(goal)
        if text is None and not goal.exists():
            broken.append(address)
        elif anchor:
            text = goal.read_text("utf-8") if text is None else text
            if anchor not in docsite.anchors(text):
                broken.append(address)
    assert not broken


def test_links_in_generated_references(generated: dict[Path, str]) -> None:
    for path, text in generated.items():
        for _, address in docsite.links(text):
            name, _, anchor = address.partition("#")
            assert not name or (path.parent / name).resolve().is_file(), address
            assert not anchor or name or anchor in docsite.anchors(text), address


def test_links_out_of_docs_lead_to_pages_of_the_site() -> None:
    page = docsite.DOCS / "methods" / "dsir.md"
    text = (
        "[m](../mechanisms.md#top_k) [r](../../benchmarks/results/ruler.md)\n"
        "[code](../../examples/demo.py) [`examples/demo.py`](../../examples/demo.py)\n"
        "[c](../reference/commands.md#dataworth-select) [i](../../README.md) [w](https://arxiv.org)\n"
        "```\n[kept](../../examples/demo.py)\n```\n"
    )
    assert docsite.with_site_links(text, page) == (
        "[m](../mechanisms.md#top_k) [r](../project/benchmarks/results/ruler.md)\n"
        "code (`examples/demo.py`) `examples/demo.py`\n"
        "[c](../reference/commands.md#dataworth-select) [i](../index.md) [w](https://arxiv.org)\n"
        "```\n[kept](../../examples/demo.py)\n```\n"
    )


def test_the_command_reference_has_every_command_and_option() -> None:
    text = docsite.command_reference()
    group: Any = get_command(app)
    for name, command in group.commands.items():
        section = text.partition(f"\n## dataworth {name}\n")[2].partition("\n## ")[0]
        assert section
        for one in command.params:
            for flag in one.opts if one.param_type_name == "option" else ():
                assert re.search(rf"(?<![\w-]){flag}(?![\w-])", section), (name, flag)
    assert not re.search(r"\[/?(bold|dim)?\]", text)


def test_the_step_reference_has_every_name_and_option() -> None:
    text = docsite.step_reference()
    for one in catalogue(None):
        if one.package:
            continue
        section = text.partition(f"\n## {one.name}\n")[2].partition("\n## ")[0]
        assert section
        for option in one.as_dict()["options"]:
            assert f"| `{option['name']}` |" in section, (one.name, option["name"])


def test_every_page_is_in_the_navigation() -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    text = repr(config["nav"])
    for path in docsite.pages():
        address = docsite.site_address(path)
        if not address.startswith(("methods/", "project/benchmarks/results/")):
            assert repr(address) in text, address


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the package mkdocs-material is not installed")
    pytest.importorskip("mkdocstrings", reason="the package mkdocs-material is not installed")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "reference" / "commands.html").is_file()
