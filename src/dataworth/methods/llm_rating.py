"""Ratings of single documents by a language model behind an endpoint.

Three prompts, in words of our own: `educational` (the additive scale from 0 to 5 of FineWeb-Edu,
Penedo et al. 2024, arXiv 2406.17557), `instruction` (AlpaGasus, Chen et al. 2023, arXiv 2307.08701:
an answer to an instruction, 0 to 5, of which 4.5 and more are kept) and `useful` (Ask-LLM, Sachdeva
et al. 2024, arXiv 2402.09668: the probability of "yes"). With `sample`, so many documents are rated
and a rater trained on them scores the pool, as FineWeb-Edu does with 450,000; with sample=0 every
document is rated, as AlpaGasus and Ask-LLM do.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from dataworth.corpus.documents import Documents
from dataworth.errors import ConfigError
from dataworth.features.answers import Answer
from dataworth.features.preferences import Values, sigmoid
from dataworth.methods.base import Batch, Pool, State, Targets
from dataworth.methods.judged import CLOSE, OPEN, Judged, distinct, weighted
from dataworth.options import option
from dataworth.registry import register

log = logging.getLogger("dataworth")

MOST = 5.0  # points of a rating
PROMPTS = {
    "educational": "Here is the beginning of a text from the web." + OPEN + "{text}" + CLOSE + "\n"
    "How useful would it be for teaching, from primary school to the end of secondary school? "
    "Begin with 0 points and add one for each of these that holds:\n"
    "1. Something in it belongs to a subject that is taught, even among advertisements and the "
    "like.\n"
    "2. It deals with such a subject, though in passing, without order or mixed with other "
    "matter.\n"
    "3. It could be used in class: it introduces key ideas coherently, if perhaps not "
    "completely.\n"
    "4. It suits the level of a school: clear and consistent, like a chapter of a textbook or a "
    "tutorial, with little that is beside the point.\n"
    "5. It is outstanding for teaching: it reasons in detail, is easy to follow, and nothing in "
    "it is out of place.\n"
    "Say why in at most 80 words. Then end with a line of the form `Score: N`, N from 0 to 5.",
    "instruction": "Here is an instruction, with its input if it has one, and an answer to it."
    + OPEN
    + "{text}"
    + CLOSE
    + "\nHow accurate is the answer, as a response to the instruction, from 0 (wrong or beside "
    "the point) to 5 (right in everything)? Halves are allowed. Begin with a line of the form "
    "`Score: N`; then say why in one sentence.",
    "useful": "Here is a text." + OPEN + "{text}" + CLOSE + "\nIs it worth training a language "
    "model on? Such a text is well formed and holds knowledge of the world that can be used; "
    "nothing in it is harmful, hateful or obscene. Answer with one word, yes or no.",
}
TOKENS = {"useful": 3, "instruction": 80}
_TOKENS = 250


@register
@dataclass(frozen=True)
class LLMRating(Judged):
    """A language model's rating of a document: points from 0 to 5, or a probability of "yes"."""

    name: ClassVar[str] = "llm_rating"
    version: ClassVar[int] = 1
    mechanism: ClassVar[str] = "top_k"
    reasons: ClassVar[tuple[str, ...]] = ("without a rating",)
    prompt: Literal["educational", "instruction", "useful"] = option(
        "educational",
        help='"educational": use for teaching, 0 to 5 (FineWeb-Edu); "instruction": accuracy of an '
        'answer to an instruction, 0 to 5 (AlpaGasus); "useful": probability of "yes" (Ask-LLM).',
    )
    template: str = option(
        "",
        help="A file with a prompt of your own in place of that one, with {text} in it; it asks "
        "for a line `Score: N`, N from 0 to 5 (or, with prompt=useful, for yes or no).",
        content=True,
    )
    sample: int = option(
        2000,
        help="Documents that are rated, at random; a rater trained on them scores all. 0: each "
        "document of the pool is rated, and paid for.",
        minimum=0,
    )
    excerpt: int = option(
        4000, help="Characters of a document that are looked at, from its beginning.", minimum=16
    )

    @property
    def unit(self) -> str:
        """The unit of the ratings."""
        return "probability" if self.prompt == "useful" else "points"

    def check(self) -> None:
        """Raise ConfigError for a template that cannot be read or has no place for the text."""
        super().check()
        self._template()

    def _template(self) -> str:
        if not self.template:
            return PROMPTS[self.prompt]
        try:
            text = Path(self.template).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise ConfigError(
                f"{self.name}: template {self.template} cannot be read ({reason})"
            ) from error
        if "{text}" not in text:
            raise ConfigError(f"{self.name}: template {self.template} has no {{text}} in it")
        return text

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Have documents rated, and train a rater on the ratings if they are a sample."""
        documents = distinct(pool.sample(self.sample) if self.sample else pool.read())
        texts = [text[: self.excerpt] for text in documents.texts()]
        template = self._template()
        answers = self.ask(
            self.name,
            [template.replace("{text}", text) for text in texts],
            pool.folder,
            tokens=TOKENS.get(self.prompt, _TOKENS),
            dry=pool.folder is None,
        )
        ratings = np.array([self.rating(votes[0]) for votes in answers], np.float64)
        rated = np.flatnonzero(~np.isnan(ratings))
        if len(rated):
            log.info(
                "%s: %d of %d documents are rated; mean %.2f, standard deviation %.2f %s",
                self.name,
                len(rated),
                len(ratings),
                ratings[rated].mean(),
                ratings[rated].std(),
                self.unit,
            )
        elif answers:
            said = [answer for votes in answers for answer in votes]
            raise self.too_few(f"none of {len(ratings):,} answers is a rating", said)
        if not self.sample:
            order = rated[np.argsort(documents.uid[rated])]
            return {"uid": documents.uid[order], "ratings": ratings[order]}
        learned = self.learn_mean(self.embed(Documents.from_texts(texts)))
        features = self._features([texts[row] for row in rated], State(learned))
        trained = self._train(features, ratings[rated]) if answers else {}
        return {**learned, "weights": np.zeros(features.shape[1]), **trained}

    def _train(self, features: Values, ratings: Values) -> dict[str, Any]:
        """Return the rater's weights [d], and how far it is off."""
        shares = ratings / self._most
        weights, logits, ridge = self.train(features, shares)
        error = float(np.abs(sigmoid(logits) - shares).mean()) * self._most
        log.info("%s: the rater is off by %.2f on documents held out", self.name, error)
        judged = {"rated": len(ratings), "held_out_error": error, "ridge": ridge}
        return {"weights": weights, "judged": judged}

    @property
    def _most(self) -> float:
        return 1.0 if self.prompt == "useful" else MOST

    def rating(self, answer: Answer) -> float:
        """Return the rating that an answer gives; NaN where it gives none in the scale."""
        if self.prompt == "useful":
            chances = answer.chances("yes", "no")
            return np.nan if chances is None else float(chances[0])
        number = r"(\d+(?:\.\d+)?)\**\s*(?:/\s*5)?"
        marked = re.findall(r"(?i)score\W*?" + number, answer.text)
        bare = re.fullmatch(number + r"\s*\.?", answer.text.strip())
        if not marked and bare is None:
            return np.nan
        value = float(marked[-1] if marked else bare.group(1))  # type: ignore[union-attr]
        return value if value <= MOST else np.nan

    def _features(self, texts: Sequence[str], state: State) -> Values:
        """Return what the rater reads, [n, d + 1]: the embedding, and a constant.

        The constant is large, so that the penalty on its weight does not count.
        """
        vectors = self.read(texts, state)
        return np.hstack([vectors, np.full((len(vectors), 1), 100.0)])

    def utilities(self, batch: Batch, state: State) -> Values:
        """Return the ratings [n, 1]; none for a document that was not rated."""
        documents = batch.documents
        if not self.sample:
            uids = state.array("uid", np.uint64, (None,))
            ratings = state.array("ratings", np.float64, (len(uids),))
            place = np.searchsorted(uids, documents.uid).clip(max=max(len(uids) - 1, 0))
            there = uids[place] == documents.uid if len(uids) else np.zeros(len(place), np.bool_)
            out = np.full(len(documents), np.nan)
            out[there] = ratings[place[there]]
            return out[:, None]
        features = self._features([text[: self.excerpt] for text in documents.texts()], state)
        weights = state.array("weights", np.float64, (features.shape[1],))
        return np.asarray(self._most * sigmoid(weighted(features, weights)))[:, None]
