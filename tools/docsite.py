"""Pages that the documentation site adds to docs/: generated references and files from beside it.

MkDocs runs the `on_…` functions (`hooks` in mkdocs.yml). Nothing here is written to the repository:
the command-line reference, the reference of steps and the list of method pages are made when the
site is built. The functions that read pages and links need no MkDocs; the tests use them too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
COMMANDS = "reference/commands.md"
STEPS = "reference/steps.md"
# Pages that lie beside docs/, and their addresses on the site.
BESIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md", "benchmarks/results/*.md")
LINK = re.compile(r"(?<!!)\[((?:[^\[\]`]|`[^`]*`|\[[^\]]*\])*)\]\(([^()\s]+)\)")
CODE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.M | re.S)
METHODS = "Methods"


# Pages and links


def pages() -> list[Path]:
    """Return the Markdown files that the site is made of."""
    return sorted([*DOCS.rglob("*.md"), *(path for glob in BESIDE for path in ROOT.glob(glob))])


def links(text: str) -> Iterator[tuple[str, str]]:
    """Yield label and address of each link of a page, those in code left out."""
    for match in LINK.finditer(CODE.sub("", text)):
        yield match[1], match[2]


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as Python-Markdown and GitHub name them."""
    known: set[str] = set()
    for heading in re.findall(r"^#+ (.+?)\s*$", CODE.sub("", text), re.M):
        name = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\s-]", "", name.lower()).strip()
        slug = re.sub(r"[\s]+", "-", name)
        number = 1
        while (slug if number == 1 else f"{slug}_{number - 1}") in known:
            number += 1
        known.add(slug if number == 1 else f"{slug}_{number - 1}")
    return known


def site_address(path: Path) -> str | None:
    """Return the page's source address on the site, or None where the file is no page of it."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    inside = path.relative_to(ROOT)
    if any(inside.match(glob) for glob in BESIDE) and len(inside.parts) < 4:
        name = "index.md" if inside.name == "README.md" else inside.name
        return (Path("project") / inside.parent / name).as_posix().lower()
    return None


def with_site_links(text: str, source: Path) -> str:
    """Return a page whose links out of docs/ lead to pages of the site, or are plain names."""
    address = site_address(source)
    assert address is not None

    def replaced(match: re.Match[str]) -> str:
        label, (path, *anchor) = match[1], match[2].split("#")
        if not path or re.match(r"[a-z]+:", path):
            return match[0]
        file = (source.parent / path).resolve()
        if file == ROOT / "README.md":
            return f"[{label}]({os.path.relpath('index.md', Path(address).parent)})"
        generated = file.is_relative_to(DOCS) and not file.exists()
        goal = file.relative_to(DOCS).as_posix() if generated else site_address(file)
        if goal is None or not (generated or file.is_file()):
            name = f"`{file.relative_to(ROOT).as_posix()}`"
            return label if name.strip("`") in label else f"{label} ({name})"
        way = os.path.relpath(goal, Path(address).parent)
        return f"[{label}]({'#'.join([way, *anchor])})"

    blocks: list[str] = []

    def kept(match: re.Match[str]) -> str:
        blocks.append(match[0])
        return f"\0{len(blocks) - 1}\0"

    text = LINK.sub(replaced, CODE.sub(kept, text))
    return re.sub("\0(\\d+)\0", lambda match: blocks[int(match[1])], text)


# Generated references


def command_reference() -> str:
    """Return the reference of all commands, written from what `--help` is written from."""
    from typer.main import get_command

    from dataworth.cli.app import app

    group: Any = get_command(app)
    out = [
        "# Commands",
        "",
        "Written from the commands themselves: `dataworth COMMAND --help` says the same.",
        "",
    ]
    panels: dict[str, list[str]] = {}
    for name, command in group.commands.items():
        panels.setdefault(command.rich_help_panel or "Commands", []).append(name)
    for panel, names in panels.items():
        out += [f"**{panel}:** " + ", ".join(f"[`{n}`](#dataworth-{n})" for n in names), ""]
    for name, command in group.commands.items():
        out += _command_section(name, command)
    return "\n".join(out)


def _command_section(name: str, command: Any) -> list[str]:
    """Usage, description and a table of options for each panel of one command."""
    context = command.make_context(f"dataworth {name}", [], resilient_parsing=True)
    usage = " ".join(command.get_usage(context).removeprefix("Usage: ").split())
    out = [f"## dataworth {name}", "", "```", usage, "```", "", *_prose(command.help or ""), ""]
    tables: dict[str, list[str]] = {}
    for one in command.params:
        record = one.get_help_record(context)
        if record is None:
            continue
        argument = one.param_type_name == "argument"
        panel = getattr(one, "rich_help_panel", None) or ("Arguments" if argument else "Options")
        cells = (f"`{_plain(record[0])}`", _plain(one.help or ""))
        tables.setdefault(panel, []).append("| " + " | ".join(map(_cell, cells)) + " |")
    for panel, rows in tables.items():
        out += [f"| {panel} | |", "|---|---|", *rows, ""]
    return out


def _prose(help: str) -> list[str]:
    """A help text's paragraphs; those marked as preformatted become code."""
    out: list[str] = []
    for paragraph in re.split(r"\n\s*\n", help.strip()):
        if paragraph.startswith("\b"):
            out += ["```", *(_plain(line) for line in paragraph.splitlines()[1:]), "```", ""]
        else:
            out += [_plain(paragraph, bold="**"), ""]
    return out[:-1]


def _plain(text: str, bold: str = "") -> str:
    """A help text without rich's markup."""
    text = re.sub(r"\[/?(?:bold)?\]", bold, text)
    return re.sub(r"\[/?dim\]", "", text).replace("\\[", "[")


def _cell(text: str) -> str:
    """A text for a table's cell: on one line, without tags but in code."""
    text = " ".join(text.split()).replace("|", "\\|")
    return "".join(
        piece if piece.startswith("`") else piece.replace("<", "&lt;")
        for piece in re.split(r"(`[^`]*`)", text)
    )


def step_reference() -> str:
    """Return the reference of all steps, mechanisms and mixtures with their options."""
    from dataworth.flow.catalogue import catalogue

    pages = method_pages()
    out = [
        "# Steps, mechanisms and mixtures",
        "",
        "Written from the classes themselves: `dataworth methods NAME` says the same.",
        "",
    ]
    for one in sorted(catalogue(None), key=lambda entry: (entry.kind, entry.name)):
        entry = one.as_dict()
        if entry["package"]:
            continue
        out += [f"## {entry['name']}", "", f"A {entry['kind']}. {_text(entry['description'])}", ""]
        page = "mixtures.md" if entry["kind"] == "mixture" else pages.get(entry["name"])
        if page:
            out += [f"See [{Path(page).stem.replace('_', ' ')}](../{page}).", ""]
        if entry["options"]:
            out += ["| option | default | takes | |", "|---|---|---|---|"]
            for option in entry["options"]:
                default = "needed" if option["required"] else f"`{option['default']!r}`"
                cells = (f"`{option['name']}`", default, option["type"], option["help"])
                out.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
            out.append("")
    return "\n".join(out)


def _text(text: str) -> str:
    """A docstring as Markdown: what would be read as a tag is no tag."""
    return re.sub(r"<(?=\w)", "&lt;", text)


def method_pages() -> dict[str, str]:
    """Return the page of each step: that of its name, or the one that has a heading for it."""
    known: dict[str, str] = {}
    for path in sorted((DOCS / "methods").glob("*.md")):
        for line in path.read_text("utf-8").splitlines():
            if line.startswith("#"):
                for name in re.findall(r"[a-z][a-z0-9_:]*", line):
                    known.setdefault(name, f"methods/{path.name}")
    for path in (DOCS / "methods").glob("*.md"):
        known[path.stem] = f"methods/{path.name}"
    for name in re.findall(r"^#+ (\w+)$", (DOCS / "mechanisms.md").read_text("utf-8"), re.M):
        known.setdefault(name, "mechanisms.md")
    return known


GENERATED: Mapping[str, Any] = {COMMANDS: command_reference, STEPS: step_reference}


# What MkDocs calls


def on_config(config: Any) -> Any:
    """Put all method pages into the navigation, so that a new one needs no edit there."""
    for entry in config.nav:
        if isinstance(entry, dict) and METHODS in entry:
            listed = {next(iter(e.values())) if isinstance(e, dict) else e for e in entry[METHODS]}
            more = sorted(f"methods/{path.name}" for path in (DOCS / "methods").glob("*.md"))
            entry[METHODS] += [page for page in more if page not in listed]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add generated pages and those from beside docs/."""
    from mkdocs.structure.files import File

    for address, write in GENERATED.items():
        files.append(File.generated(config, address, content=write()))
    for path in pages():
        if not path.is_relative_to(DOCS):
            files.append(File.generated(config, site_address(path), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Let links out of docs/ lead to pages of the site."""
    if page.file.src_uri in GENERATED:
        return markdown
    return with_site_links(markdown, Path(page.file.abs_src_path).resolve())
