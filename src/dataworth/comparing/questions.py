"""Questions that a model answers by likelihood: with options, or with one response.

Rows of JSON lines: `prompt` (or `question`), and either `options` (or `choices`) with `answer`, an
index or the option's text, or `response` (or `answer`, `completion`). A prompt that lists its
options as `(A) ... (B) ...` with a response `(E) ...` has options too.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import zstandard

from dataworth.corpus.chats import mark_of
from dataworth.corpus.documents import Documents
from dataworth.corpus.fields import Fields
from dataworth.corpus.templates import Span, flatten
from dataworth.corpus.uid import hash_uid, marked, uids_of
from dataworth.errors import InputError

_STREAM = 0x71756573  # of `hash_uid`
_LISTED = re.compile(r"\(([A-Z])\)\s*(.*?)(?=\s*\([A-Z]\)|\s*$)", re.S)
_RESPONSE = re.compile(r"\s*\(([A-Z])\)")


def read_questions(paths: Sequence[str], limit: int, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Read at most `limit` questions of each kind, "choice" and "cloze", by a hash of the text.

    Raises InputError that names the file and line of a row that is no question.
    """
    questions: dict[str, list[dict[str, Any]]] = {"choice": [], "cloze": []}
    for path in paths:
        for number, line in enumerate(_read(Path(path)).split(b"\n"), 1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
                question = as_question(row)
            except (ValueError, KeyError, TypeError, IndexError) as error:
                raise InputError(
                    f"{path}, line {number}: is no question ({error}): a row has 'prompt', and "
                    "'options' with 'answer', or 'response'"
                ) from None
            questions["choice" if "options" in question else "cloze"].append(question)
    for kind, rows in questions.items():
        if len(rows) > limit:
            texts = [orjson.dumps(row).decode() for row in rows]
            order = np.argsort(hash_uid(seed, Documents.from_texts(texts).uid, _STREAM))
            questions[kind] = [rows[int(i)] for i in np.sort(order[:limit])]
    return questions


def as_question(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return {"prompt", "options", "answer"} with the answer's index, or {"prompt", "response"}.

    Raises KeyError, TypeError or ValueError for a row that is neither.
    """
    prompt = _first(row, ("prompt", "question"))
    options = row.get("options", row.get("choices"))
    if options is not None:
        options = [str(option) for option in options]
        answer = row["answer"]
        index = answer if isinstance(answer, int) else options.index(str(answer))
        if len(options) < 2 or not 0 <= index < len(options):
            raise ValueError("the answer is not among two options or more")
        return {"prompt": prompt, "options": options, "answer": index}
    response = _first(row, ("response", "completion", "answer"))
    listed = dict(_LISTED.findall(prompt))
    letter = _RESPONSE.match(response)
    if letter and letter[1] in listed and len(listed) > 1:
        options = [f"({key}) {text}" for key, text in listed.items()]
        return {"prompt": prompt, "options": options, "answer": list(listed).index(letter[1])}
    return {"prompt": prompt, "response": response}


def as_read(question: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    """Return the question as a model has read the pool's pairs: its prompt, and what is `between`
    it and a response, by the template or the join of two fields; else a space, which is not said.
    """
    if fields.template is not None:
        turns = [("user", question["prompt"]), ("assistant", "x")]
        text, spans = flatten(turns, fields.template)
        before = text.encode()[: spans[-1][0]].decode()
        prompt = before.rstrip()
        return {**question, "prompt": prompt, "between": before[len(prompt) :]}
    if len(fields.text) > 1:
        return {**question, "between": fields.join}
    return dict(question)


def answered(questions: Sequence[Mapping[str, Any]], fields: Fields) -> Documents:
    """Return questions with their answers as documents, as the pool would have them."""
    read = [_answered(question, fields) for question in questions]
    documents = Documents.from_texts([text for text, _ in read])
    if fields.template is None:
        return documents
    marks = uids_of([mark_of(spans, {}) for _, spans in read])
    return replace(documents, uid=marked(documents.uid, marks))


def _answered(question: Mapping[str, Any], fields: Fields) -> tuple[str, tuple[Span, ...]]:
    """Return a question and its answer as one text, and its turns if there is a template."""
    answer = question.get("response")
    if answer is None:
        answer = question["options"][question["answer"]]
    if fields.template is not None:
        return flatten([("user", question["prompt"]), ("assistant", answer)], fields.template)
    return str(question["prompt"] + as_read(question, fields).get("between", " ") + answer), ()


def _first(row: Mapping[str, Any], names: Sequence[str]) -> str:
    for name in names:
        if isinstance(row.get(name), str) and row[name]:
            return str(row[name])
    raise KeyError(f"no field {' or '.join(names)}")


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return gzip.decompress(data) if path.suffix == ".gz" else data
