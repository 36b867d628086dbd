"""Every registered step with the options that it needs, and every way to set its words.

A new step is a case by being in the registry. One that needs a model says so by a field `model` or
`models`, one that asks an endpoint by a field `judge`; what else a step needs stands in `NEEDED`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from dataworth.config import variants
from dataworth.methods.registry import STEPS
from judge_server import standing

MODEL, SENTENCE, DISTILLED = "models/0", "sentence/model", "distilled"
HEAD, ESTIMATOR = "head", "estimator.skops"
MODELS = (MODEL, "models/1")
PAIRS, LIKE = "pairs.parquet", "like.npy"

JUDGED = {"llm_rating": {"sample": 20}, "qurating": {"pairs": 20}}
EMBEDDED = ("betr", "cluster_balanced", "d4", "density", "embed", "semdedup", *JUDGED)
EMBEDDED += ("embedding_classifier",)
TABLES = {"losses": "losses.csv", "scores": "scores.csv"}

NEEDED: Mapping[str, Mapping[str, Any]] = {
    "ask_llm": {"context": 512},
    "decontaminate": {"benchmarks": ["target.jsonl"], "n": 3},
    "embedding_similarity": {"embedder": "states"},
    **{name: {"embedder": "ngrams", "model": "", **JUDGED.get(name, {})} for name in EMBEDDED},
    "sequence_classifier": {"model": HEAD},
    "sklearn": {"model": ESTIMATOR},
    "fasttext": {"model": "", "buckets": 100, "dimension": 4},
    "exact_substrings": {"size": 20, "share": 0.9},
    "field_in": {"field": "domain", "values": ["sums"]},
    "fineweb": {"line_ends": 0, "short_lines": 1},
    "gopher_quality": {"least_words": 2, "least_mean": 1, "least_stop_words": 0},
    "language_id": {"model": ""},
    "known_scores": {"file": "scores.jsonl", "column": "q"},
    **{name: {"pairs": PAIRS} for name in ("clip_loss", "dfn")},
    "norm_sim": {"pairs": PAIRS, "like": LIKE},
    "word_list": {"file": "words.txt"},
    # So few documents are trained on that the steps have to be small to be smooth.
    "metagradient": {"batch": 8, "learning_rate": 1e-4, "runs": 1},
    "ngram_perplexity": {"ngrams": 3},
    "perplexity_correlations": TABLES,
    "preselect": TABLES,
}
NEEDED_WITH: Mapping[tuple[str, str, str], Mapping[str, Any]] = {
    **{
        (name, "embedder", word): {"model": model}
        for name in ("embedding_similarity", *EMBEDDED)
        for word, model in (
            ("distilled", DISTILLED),
            ("sentence", SENTENCE),
            ("words", "words"),
            ("states", MODEL),
            ("tokens", MODEL),
            ("ngrams", ""),
        )
    },
}
# What leaves the mathematics as they are, and what needs other machines.
NOT_VARIED = {"dtype", "device"}
ROUGH = 1e-4
"""Share of the largest utility by which numbers of one model in other batches may differ."""


@dataclass(frozen=True)
class Case:
    """A step with options. `tolerance`: by which its numbers depend on the batch, 0: not at all."""

    step: str
    options: Mapping[str, Any]
    tolerance: float
    varied: str = ""
    variant: str = ""

    @property
    def steps(self) -> Any:
        """As `select` takes it."""
        return f"{self.step}:{self.variant}" if self.variant else [{self.step: dict(self.options)}]

    def __str__(self) -> str:
        return f"{self.step}({self.varied})" if self.varied else self.step


def needed(name: str) -> dict[str, Any]:
    """The options without which a step cannot be, and those that suit few documents."""
    there = {field.name for field in fields(STEPS[name])}
    models = {"model": MODEL} if "model" in there else {}
    models |= {"models": list(MODELS)} if "models" in there else {}
    models |= standing() if "judge" in there else {}
    return {**models, **NEEDED.get(name, {})}


def tolerance(name: str) -> float:
    """Return 0 for a step that says that its numbers do not depend on the batch.

    A step that says nothing depends on it if it asks a model about each document.
    """
    asks = bool({"model", "models"} & {field.name for field in fields(STEPS[name])})
    return 0.0 if getattr(STEPS[name], "exact", not asks) else ROUGH


def core() -> list[Case]:
    """Every registered step."""
    return [Case(name, needed(name), tolerance(name)) for name in STEPS]


def varied() -> Iterator[Case]:
    """Every step with each word that one of its options may be, and its published variants."""
    for case in core():
        cls = STEPS[case.step]
        for name, hint in get_type_hints(cls).items():
            if get_origin(hint) is not Literal or name in NOT_VARIED:
                continue
            for word in get_args(hint):
                further = NEEDED_WITH.get((case.step, name, word), {})
                options = {**case.options, name: word, **further}
                yield Case(case.step, options, case.tolerance, f"{name}={word}")
        for variant in variants(cls):
            yield Case(case.step, case.options, case.tolerance, f":{variant}", variant)
