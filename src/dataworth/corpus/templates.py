"""Chats and prompt-completion pairs as one text, with the byte ranges of who says what.

| name | one turn |
|---|---|
| plain | the content; turns are parted by a blank line |
| chatml | `<|im_start|>ROLE`, line end, the content, `<|im_end|>`, line end |
| tulu | `<|ROLE|>`, line end, the content, line end |
| alpaca | the instruction preamble (or the system turn), then `### Instruction:`, `### Input:`, `### Response:`, parted by blank lines |

A span covers the content of its turn and nothing of the template. Contents are taken as they are:
not stripped, and no end-of-text token is added, since that is the tokenizer's.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

Span = tuple[int, int, str]
Turn = tuple[str, str]

INPUT: Final = "input"
"""The turn that holds the further input of an instruction; its span is the user's."""

_ALPACA = (
    "Below is an instruction that describes a task{input}. Write a response that appropriately "
    "completes the request."
)


class RowError(ValueError):
    """A row that is no document: the `reason` is one of the reader's, `detail` says where."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Template:
    """The text before and after a turn ({role} is replaced) and between two turns."""

    before: str
    after: str
    between: str = ""


TEMPLATES: Final = {
    "plain": Template("", "", "\n\n"),
    "chatml": Template("<|im_start|>{role}\n", "<|im_end|>\n"),
    "tulu": Template("<|{role}|>\n", "\n"),
    "alpaca": Template("### {role}:\n", "", "\n\n"),
}
_ALPACA_ROLES: Final = {"user": "Instruction", "assistant": "Response", INPUT: "Input"}


def flatten(turns: Sequence[Turn], template: str) -> tuple[str, tuple[Span, ...]]:
    """One text of the turns, and each turn's byte range in it with its speaker.

    Raises RowError (empty_text) when all contents are empty.
    """
    if not any(content for _, content in turns):
        raise RowError("empty_text", "all turns are empty")
    style = TEMPLATES[template]
    pieces: list[str] = []
    if template == "alpaca":
        if turns[0][0] != "system":
            pair = ", paired with an input that provides further context"
            has_input = any(role == INPUT for role, _ in turns)
            pieces = [_ALPACA.format(input=pair if has_input else ""), style.between]
    else:
        turns = _merge_inputs(turns)
    at = sum(len(piece.encode()) for piece in pieces)
    spans: list[Span] = []
    for number, (role, content) in enumerate(turns):
        before = style.before.replace("{role}", role)
        if template == "alpaca":
            name = _ALPACA_ROLES.get(role, role.capitalize())
            before = "" if number == 0 and role == "system" else style.before.format(role=name)
        start = at + len(before.encode())
        end = start + len(content.encode())
        spans.append((start, end, "user" if role == INPUT else role))
        after = style.after + (style.between if number + 1 < len(turns) else "")
        pieces += [before, content, after]
        at = end + len(after.encode())
    return "".join(pieces), tuple(spans)


def _merge_inputs(turns: Sequence[Turn]) -> list[Turn]:
    """Inputs joined to the user's turn before them, for templates without a place for them."""
    merged: list[Turn] = []
    for role, content in turns:
        if role == INPUT and merged:
            merged[-1] = (merged[-1][0], f"{merged[-1][1]}\n\n{content}")
        else:
            merged.append((role, content))
    return merged
