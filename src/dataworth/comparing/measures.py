"""Measures of models and cheap metrics of selections: names, units, and which way is better."""

from __future__ import annotations

from dataworth.results.comparison import Measure, Metric

LOSS = "loss"
SHIFT = "shift"
"""The kind of the sets of text that is not from the pool's sources."""


MEASURES = (
    Measure(name=LOSS, label="Loss", unit="nats per token", lower_is_better=True),
    Measure(name="bits_per_byte", label="Bits a byte", unit="bits", lower_is_better=True),
    Measure(
        name="pool_loss", label="Loss on the pool", unit="nats per token", lower_is_better=True
    ),
    Measure(
        name="pool_bits_per_byte",
        label="Bits a byte on the pool",
        unit="bits",
        lower_is_better=True,
    ),
    Measure(
        name="transfer_loss",
        label="Loss on the other targets",
        unit="nats per token",
        lower_is_better=True,
    ),
    Measure(
        name="shift_loss",
        label="Loss on text from elsewhere",
        unit="nats per token",
        lower_is_better=True,
    ),
    Measure(name="accuracy", label="Accuracy", unit="share", lower_is_better=False),
    Measure(
        name="centred_accuracy", label="Accuracy above chance", unit="share", lower_is_better=False
    ),
    Measure(
        name="accuracy_per_char", label="Accuracy, a character", unit="share", lower_is_better=False
    ),
    Measure(
        name="correct_prob",
        label="Probability of the answer",
        unit="probability",
        lower_is_better=False,
    ),
    Measure(
        name="correct_prob_per_char",
        label="Probability a character",
        unit="probability",
        lower_is_better=False,
    ),
    Measure(
        name="norm_correct_prob", label="Share of the answer", unit="share", lower_is_better=False
    ),
    Measure(name="margin", label="Margin of the answer", unit="probability", lower_is_better=False),
    Measure(
        name="response_bits_per_byte",
        label="Bits a byte of the response",
        unit="bits",
        lower_is_better=True,
    ),
    Measure(name="exact_match", label="Exact match", unit="share", lower_is_better=False),
)

METRICS = (
    Metric(name="gain", label="gain", unit="nats per word"),
    Metric(name="kl_reduction", label="KL reduction", unit="nats"),
    Metric(name="right_share", label="Share of the right field", unit="share"),
    Metric(name="contamination", label="Validation documents hit", unit="share"),
    Metric(name="distinct_2", label="Distinct 2-grams", unit="share"),
    Metric(name="compression", label="Compression ratio", unit="ratio"),
    Metric(name="duplicates", label="Repeated documents", unit="share"),
    Metric(name="effective_share", label="Effective sample size / chosen", unit="share"),
    Metric(name="length_correlation", label="Length correlation", unit="Spearman"),
    Metric(name="document_bytes", label="Mean length", unit="bytes"),
    Metric(name="unique_tokens", label="Tokens chosen", unit="tokens"),
    Metric(name="groups_covered", label="Groups covered", unit="share"),
    Metric(name="tail_covered", label="Small groups covered", unit="share"),
)

PREDICTED = (LOSS, "pool_loss")
"""The measures that cheap metrics are held against."""

_LOWER = {measure["name"]: measure["lower_is_better"] for measure in MEASURES}
_SMALLER_IS_BETTER = {"compression", "duplicates"}


def sign_of(metric: str, measure: str) -> int:
    """Return the direction that a measure is expected to go when a metric grows: 1 up, -1 down."""
    sign = -1 if metric in _SMALLER_IS_BETTER else 1
    return -sign if _LOWER[measure] else sign
