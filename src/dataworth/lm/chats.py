"""Chats as a model was trained to read them: by the chat template beside its tokenizer.

The template's special tokens become their ids; in what somebody says, the same characters stay
characters. Of the tokens it is known which ones the assistant says: its words, and the token by
which the template ends its turn. Templates run in the sandbox of transformers; a date that one
asks for is always the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from dataworth.errors import ConfigError
from dataworth.lm.folders import base_name, is_adapter
from dataworth.lm.tokenizer import begin_token, beside, end_token

_DATE = "26 Jul 2024"  # the one that Llama's template falls back to
_MARK = "\ue000{}\ue001"
_ENCODED = tuple[list[int], list[tuple[int, int]]]

Turns = Sequence[tuple[str, str]]


@dataclass(frozen=True, eq=False)
class Read:
    """A document as tokens. `ids`, with what stands before and after it. `text`: what was read.

    `places`: of each token of `text`, its characters. `before`: ids that stand before the text.
    `said`: which ids the assistant says; None where all of a text counts.
    """

    text: str
    ids: list[int]
    places: list[tuple[int, int]]
    before: int
    said: list[bool] | None = None

    @property
    def silent(self) -> bool:
        """Tell if it is a chat in whose text the assistant says nothing: nothing to learn from."""
        return self.said is not None and not any(self.said[self.before :][: len(self.places)])


class ChatTemplate:
    """The chat template of a model's folder, with its tokenizer."""

    def __init__(self, template: str, tokenizer: Tokenizer, source: str | Path) -> None:
        from transformers import PreTrainedTokenizerFast

        if "strftime_now" in template:
            template = f"{{%- macro strftime_now(format) -%}}{_DATE}{{%- endmacro -%}}{template}"
        self.template = template
        self.begin, self.end = begin_token(tokenizer, source), end_token(tokenizer, source)
        self._plain = tokenizer
        self._special = Tokenizer.from_str(tokenizer.to_str())
        self._special.encode_special_tokens = False
        known = tokenizer.get_added_tokens_decoder()
        self._ids = {token.content: number for number, token in known.items() if token.special}
        names = sorted(self._ids, key=len, reverse=True)
        self._names = re.compile("|".join(map(re.escape, names)) or r"(?!)")
        ends = {f"{kind}_token": known[number].content for kind, number in self._edges(known)}
        self._renderer: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
            tokenizer_object=self._special, **ends
        )

    def _edges(self, known: dict[int, Any]) -> list[tuple[str, int]]:
        found = (("bos", self.begin), ("eos", self.end))
        return [(kind, number) for kind, number in found if number is not None and number in known]

    def read(self, chats: Sequence[Turns]) -> list[Read | str]:
        """Return each chat as tokens, or why the template refuses it."""
        laid: list[Any] = []
        for turns in chats:
            try:
                laid.append(self._lay(_joined(turns)))
            except Exception as error:  # a template may fail in any way
                laid.append(" ".join(str(error).split()) or type(error).__name__)
        # Tokens by name in what somebody says are characters: such chats are cut at the template's.
        plain = [one for one in laid if not isinstance(one, str) and not one.odd]
        whole = self._special.encode_batch([one.text for one in plain], add_special_tokens=False)
        known = {id(one): (e.ids, e.offsets) for one, e in zip(plain, whole, strict=True)}
        out: list[Read | str] = []
        for one in laid:
            refused = isinstance(one, str)
            out.append(
                one if refused else self._finished(one, known.get(id(one)) or self._cut(one))
            )
        return out

    def _lay(self, turns: list[tuple[str, str]]) -> _Laid:
        """Return the text of a chat, and where in it each turn's words are. Raises ValueError."""
        text = self._render([content for _, content in turns], turns)
        marks = [_MARK.format(number) for number in range(len(turns))]
        words = _matched(text, self._render(marks, turns), marks, turns) or _found(text, turns)
        said = []
        for (role, content), (start, end) in zip(turns, words, strict=True):
            if role == "assistant" and content.strip():
                after = self._names.match(text, end + _blank(text, end))
                said.append((start, after.end() if after else end))
        odd = any(self._names.search(text[a:b]) for a, b in words)
        last = max((end for _, end in words), default=0)
        closed = bool(self._names.search(text, last))
        return _Laid(text, words, said, odd, closed, turns[-1][0] == "assistant")

    def _render(self, contents: list[str], turns: list[tuple[str, str]]) -> str:
        messages = [
            {"role": role, "content": content}
            for (role, _), content in zip(turns, contents, strict=True)
        ]
        made: str = self._renderer.apply_chat_template(
            messages, chat_template=self.template, tokenize=False, date_string=_DATE
        )
        return made

    def _cut(self, laid: _Laid) -> _ENCODED:
        """Return tokens of a chat in which somebody writes a special token's name."""
        ids: list[int] = []
        places: list[tuple[int, int]] = []
        at = 0
        own = [
            found
            for found in self._names.finditer(laid.text)
            if not any(start < found.end() and found.start() < end for start, end in laid.words)
        ]
        marks = [(found.start(), found.end(), found[0]) for found in own]
        for start, end, name in [*marks, (len(laid.text), 0, "")]:
            between = self._plain.encode(laid.text[at:start], add_special_tokens=False)
            ids += between.ids
            places += [(at + a, at + b) for a, b in between.offsets]
            if name:
                ids.append(self._ids[name])
                places.append((start, end))
            at = end
        return ids, places

    def _finished(self, laid: _Laid, encoded: _ENCODED) -> Read:
        """Return the chat with which tokens are said, one start token, and an end."""
        ids, places = encoded
        said = [any(a < end and start < b for start, end in laid.said) for a, b in places]
        before = [self.begin] if self.begin is not None and ids[:1] != [self.begin] else []
        after = [] if laid.closed else [self.end]
        return Read(
            laid.text,
            [*before, *ids, *after],
            places,
            len(before),
            [*(False for _ in before), *said, *(laid.answered for _ in after)],
        )


@dataclass(frozen=True, eq=False)
class _Laid:
    text: str
    words: list[tuple[int, int]]
    said: list[tuple[int, int]]
    odd: bool  # somebody writes a special token's name
    closed: bool  # a special token stands after the last turn
    answered: bool  # the last turn is the assistant's


def chat_template(tokenizer: Tokenizer, source: str | Path) -> ChatTemplate | None:
    """Return the chat template beside a model, None if it has none or one that cannot be used."""
    found = beside(source, "tokenizer_config.json").get("chat_template")
    folders = [Path(source), *([Path(base_name(Path(source)))] if is_adapter(Path(source)) else [])]
    files = [folder / "chat_template.jinja" for folder in folders]
    file = next((file for file in files if file.is_file()), None)
    if file is not None:
        found = file.read_text("utf-8")
    elif found is None:
        found = beside(source, "chat_template.json").get("chat_template")
    if isinstance(found, list):  # several, by name
        named = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
        found = named.get("default")
    if not isinstance(found, str) or not found.strip():
        return None
    try:
        return ChatTemplate(found, tokenizer, source)
    except ConfigError:  # without a token that ends a document
        return None


def _joined(turns: Turns) -> list[tuple[str, str]]:
    """Return the turns with what a user says at once, in several parts, as one turn."""
    out: list[tuple[str, str]] = []
    for role, content in turns:
        if out and role == out[-1][0] == "user":
            out[-1] = role, f"{out[-1][1]}\n\n{content}"
        else:
            out.append((role, content))
    return out


def _matched(
    text: str, marked: str, marks: list[str], turns: list[tuple[str, str]]
) -> list[tuple[int, int]] | None:
    """Return where the turns' words are, if the template treats them as it does the marks."""
    pieces, rest = [], marked
    for mark in marks:
        before, found, rest = rest.partition(mark)
        if not found:
            return None
        pieces.append(before)
    pieces.append(rest)
    if not text.startswith(pieces[0]):
        return None
    at, places = len(pieces[0]), []
    for (_, content), piece in zip(turns, pieces[1:], strict=True):
        ways = (content, content.strip(), content.rstrip(), content.lstrip())
        way = next((way for way in ways if text.startswith(way + piece, at)), None)
        if way is None:
            return None
        places.append((at, at + len(way)))
        at += len(way) + len(piece)
    return places if at == len(text) else None


def _found(text: str, turns: list[tuple[str, str]]) -> list[tuple[int, int]]:
    """Return where the turns' words are, one after another. Raises ValueError if some are not."""
    at, places = 0, []
    for role, content in turns:
        words = content.strip()
        start = text.find(words, at)
        if start < 0:
            if role == "assistant":
                raise ValueError("it leaves out or changes what the assistant says")
            start, words = at, ""
        places.append((start, start + len(words)))
        at = start + len(words)
    return places


def _blank(text: str, at: int) -> int:
    return len(text[at:]) - len(text[at:].lstrip())
