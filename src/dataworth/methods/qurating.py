"""QuRating: ratings learned from a language model's preferences between two texts.

Wettig, Gupta, Malik and Chen, "QuRating: Selecting High-Quality Data for Training Language Models",
ICML 2024, arXiv 2402.09739. Pairs of excerpts of equal length are judged in both orders, by one
criterion at a time; a rater is trained with the Bradley-Terry loss, p(right over left) =
sigmoid(rating of right - rating of left); its ratings, standardised over the pool, are logits to
sample by. The paper's rater is a language model of 1.3 billion parameters, trained whole; here it
is linear on a frozen embedding, which 1,000 pairs suffice to train. The prompts are our own.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dataworth.errors import ConfigError
from dataworth.features.answers import Answer
from dataworth.features.comparisons import excerpts, pair
from dataworth.features.preferences import Values
from dataworth.methods.base import Batch, Pool, State, Targets
from dataworth.methods.judged import CLOSE, OPEN, Judged, distinct, weighted
from dataworth.methods.linear import mechanism_option
from dataworth.options import near, option
from dataworth.registry import register

log = logging.getLogger("dataworth")

CRITERIA = {
    "writing_style": "is better written: in a more polished and more pleasing style",
    "required_expertise": "takes more expertise and more previous knowledge to understand",
    "facts_and_trivia": "holds more facts and trivia, above all specific and little known ones",
    "educational_value": "teaches more: it explains clearly, reasons step by step, or asks "
    "questions and answers them",
}
"""The criteria of the paper (section 3), in words of our own."""

PROMPT = (
    "Here are excerpts of two texts, A and B, cut off at both ends.\n\nA:{open}{left}{close}\nB:"
    "{open}{right}{close}\nWhich of the two {criterion}? Let neither their language, nor their "
    "length, nor the order in which they stand here decide. They may be of like quality: choose "
    "one all the same. Answer with one letter, A or B, and nothing else."
)
_TOKENS = 3  # of an answer: a letter, and what a model puts around it


@register
@dataclass(frozen=True)
class QuRating(Judged):
    """Ratings in standard deviations of the pool, one for each criterion; without a target."""

    name: ClassVar[str] = "qurating"
    version: ClassVar[int] = 1
    unit = "standard deviations"
    criteria: tuple[str, ...] = option(
        ("educational_value",),
        help="What is asked about: writing_style, required_expertise, facts_and_trivia, "
        'educational_value, or the end of a question "Which of the two …?" in words of your own.',
    )
    pairs: int = option(
        1000, help="Pairs that are judged by each criterion, in both orders.", minimum=2
    )
    excerpt: int = option(
        2048, help="Characters of the longest excerpt, and of the pieces rated.", minimum=16
    )
    votes: int = option(
        0,
        help="Answers that are sampled for each order (the paper: 20); 0: one answer, by the "
        "probabilities of its first token, which many samples tend to.",
        minimum=0,
    )
    confidence: float = option(
        0.5,
        help="Pairs count whose preference is by at least so much above (or below) even: 0.5 "
        "leaves p ≤ 0.25 and p ≥ 0.75.",
        minimum=0,
        maximum=1,
    )
    mechanism: str = mechanism_option("gumbel_top_k(temperature=2)")

    def __post_init__(self) -> None:
        """Raise ConfigError without a criterion, or for one that is asked about twice."""
        super().__post_init__()
        if not self.criteria or len(set(self.criteria)) < len(self.criteria):
            raise ConfigError(f"{self.name}: criteria names what is asked about, each thing once")
        for word in self.criteria:
            if word not in CRITERIA and " " not in word.strip():
                raise ConfigError(
                    f"{self.name}: there is no criterion {word!r}{near(word, CRITERIA)}; there are "
                    f"{', '.join(CRITERIA)}, or the end of a question in several words"
                )

    def utility_names(self, targets: Sequence[str]) -> tuple[str, ...]:
        """Return the criteria."""
        return self.criteria

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Have pairs judged, and train the rater on them."""
        documents = distinct(pool.sample(2 * self.pairs))
        left, right = pair(len(documents), self.pairs)
        if not len(left):
            raise ConfigError(f"{self.name}: the pool's sample has no two texts to compare")
        pairs = list(excerpts(documents, left, right, self.excerpt, pool.seed))
        prompts = [
            self.prompt(criterion, *texts)
            for criterion in self.criteria
            for first, second in pairs
            for texts in ((first, second), (second, first))
        ]
        dry = pool.folder is None
        answers = self.ask(
            self.name, prompts, pool.folder, tokens=_TOKENS, votes=self.votes, dry=dry
        )
        learned = self.learn_mean(self.embed(documents))
        state = State(learned)
        features = self.read([second for _, second in pairs], state)
        features -= self.read([first for first, _ in pairs], state)
        weights, about = np.zeros((len(self.criteria), features.shape[1])), {}
        for number, criterion in enumerate(self.criteria if answers else ()):
            some = answers[number * 2 * len(pairs) : (number + 1) * 2 * len(pairs)]
            weights[number], about[criterion] = self._train(criterion, features, some)
        learned |= {"weights": weights, "judged": about}
        ratings = self._ratings(documents.texts(), State(learned))
        spread = ratings.std(0)
        spread = np.where(spread > 0, spread, 1.0)
        return {**learned, "average": ratings.mean(0), "spread": spread}

    def prompt(self, criterion: str, left: str, right: str) -> str:
        """Return the question which of two texts is the better by a criterion."""
        words = CRITERIA.get(criterion, criterion)
        return PROMPT.format(open=OPEN, close=CLOSE, left=left, right=right, criterion=words)

    def _train(
        self, criterion: str, features: Values, answers: Sequence[Sequence[Answer]]
    ) -> tuple[Values, dict[str, Any]]:
        """Return the rater's weights [d], and what is known of the judge and of it."""
        second = np.array([share_of_second(votes) for votes in answers]).reshape(-1, 2)
        prefers = 0.5 * (second[:, 0] + 1 - second[:, 1])  # the right one, whatever the order
        there = ~np.isnan(prefers)
        clear = there & (np.abs(prefers - 0.5) >= 0.5 * self.confidence)
        if clear.sum() < 2:
            raise self.too_few(
                f"of {len(prefers):,} pairs judged by {criterion}, {int(clear.sum())} have a clear "
                "preference",
                [answer for votes in answers for answer in votes],
            )
        weights, logits, ridge = self.train(features[clear], prefers[clear])
        about = {
            "pairs": len(prefers),
            "answered": int(there.sum()),
            "clear": int(clear.sum()),
            "confident": int((np.abs(prefers[there] - 0.5) >= 0.25).sum()),
            "share_of_second": float(np.nanmean(second)),
            "orders_agree": float(((second[there, 0] > 0.5) != (second[there, 1] > 0.5)).mean()),
            "held_out_accuracy": float(((logits > 0) == (prefers[clear] > 0.5)).mean()),
            "ridge": ridge,
        }
        log.info(
            "%s: %s: %d of %d pairs answered in both orders, which agree on %.0f %%; the second "
            "text is preferred in %.0f %%; the rater agrees with %.0f %% of %d clear preferences "
            "held out",
            self.name,
            criterion,
            about["answered"],
            len(prefers),
            100 * about["orders_agree"],
            100 * about["share_of_second"],
            100 * about["held_out_accuracy"],
            about["clear"],
        )
        return weights, about

    def _ratings(self, texts: Sequence[str], state: State) -> Values:
        """Return ratings [n, criteria]: the mean over a text's pieces, weighted by length."""
        size = self.excerpt
        pieces = [[t[at : at + size] for at in range(0, max(len(t), 1), size)] for t in texts]
        owner = np.repeat(np.arange(len(texts)), [len(some) for some in pieces])
        flat = [piece for some in pieces for piece in some]
        lengths = np.array([max(len(piece), 1) for piece in flat], np.float64)
        features = self.read(flat, state)
        weights = state.array("weights", np.float64, (len(self.criteria), features.shape[1]))
        out = np.zeros((len(texts), len(weights)))
        for number, one in enumerate(weights):
            np.add.at(out[:, number], owner, weighted(features, one) * lengths)
        return out / np.bincount(owner, lengths, len(texts))[:, None]

    def utilities(self, batch: Batch, state: State) -> Values:
        """Return the standardised ratings. RunError for another embedder than was fitted with."""
        k = (len(self.criteria),)
        average, spread = (state.array(name, np.float64, k) for name in ("average", "spread"))
        ratings = self._ratings(batch.documents.texts(), state)
        return np.asarray((ratings - average) / spread, np.float64)


def share_of_second(votes: Sequence[Answer]) -> float:
    """Return the share of votes for text B; NaN unless more than half of the answers are one."""
    chances = [answer.chances("A", "B") for answer in votes]
    valid = [float(chance[1]) for chance in chances if chance is not None]
    return float(np.mean(valid)) if 2 * len(valid) > len(votes) else np.nan
