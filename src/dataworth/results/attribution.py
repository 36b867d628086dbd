"""The record of an attribution: `attribution.json`, and what the page is drawn from."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class Document(TypedDict):
    """A training document and its score for one query.

    `pieces`: [text, what it adds to the score] in order; joined they are the text, or its beginning
    if it is `cut`. `start`: what the end token adds that stands before the text, from which its
    first token is predicted; with it they sum to the score. `copies`: documents of the same text.
    """

    rank: int
    uid: str
    score: float
    tokens: int
    file: str
    offset: int
    copies: int
    pieces: list[tuple[str, float]]
    start: NotRequired[float]
    cut: NotRequired[bool]


class Query(TypedDict):
    """A query with the documents that help and harm it most.

    `loss`: nats per token. `total`: all documents' scores added up; `share_positive`: of
    documents; `half`: share of documents, from the most helpful, that hold half of all that helps.
    """

    number: int
    text: str
    loss: float
    tokens: int
    helpful: list[Document]
    harmful: list[Document]
    mean: float
    deviation: float
    share_positive: float
    half: float


class Check(TypedDict, total=False):
    """Agreement of the solver with the exact answer on a tiny model of the same architecture.

    `correlation` of scores and of their `ranks`, within queries and averaged over them; `spread`:
    how many times as far apart the scores lie as the exact ones. `why`: there is none.
    """

    correlation: float
    ranks: float
    spread: float
    architecture: str
    parameters: int
    context: NotRequired[int]
    examples: int
    queries: int
    why: str


class Attribution(TypedDict):
    """The whole. `about`: the preconditioner in words. `predicted`, `used`: seconds and bytes.

    `residual`: the largest of any query, where a solver goes step by step, relative to the query.
    `context`: tokens that the model sees at once.
    `check`: where it was asked for.
    """

    attribution_version: int
    version: str
    model: str
    train: str
    solver: str
    about: str
    unit: str
    parameters: int
    context: NotRequired[int]
    documents: int
    tokens: int
    bad: int
    queries: list[Query]
    common: list[tuple[str, int]]
    predicted: dict[str, float]
    used: dict[str, float]
    settings: dict[str, Any]
    notes: list[str]
    residual: NotRequired[float]
    check: NotRequired[Check]
