"""What models and selections are measured by: names, units, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass

LOSS = "loss"
SHIFT = "shift"
"""The kind of the sets of text that is not from the pool's sources."""


@dataclass(frozen=True)
class MeasureOf:
    """A number of a trained model. `predicted`: cheap metrics are held against it."""

    name: str
    label: str
    unit: str
    lower_is_better: bool
    predicted: bool = False


@dataclass(frozen=True)
class MetricOf:
    """A number of a selection, known without training.

    `sign`: 1 if larger is expected to be better, -1 if smaller is.
    """

    name: str
    label: str
    unit: str
    sign: int = 1


MEASURES = (
    MeasureOf(LOSS, "Loss", "nats a token", True, predicted=True),
    MeasureOf("bits_per_byte", "Bits a byte", "bits", True),
    MeasureOf("pool_loss", "Loss on the pool", "nats a token", True, predicted=True),
    MeasureOf("pool_bits_per_byte", "Bits a byte on the pool", "bits", True),
    MeasureOf("transfer_loss", "Loss on the other targets", "nats a token", True),
    MeasureOf("shift_loss", "Loss on text from elsewhere", "nats a token", True),
    MeasureOf("accuracy", "Accuracy", "share", False),
    MeasureOf("centred_accuracy", "Accuracy above chance", "share", False),
    MeasureOf("accuracy_per_char", "Accuracy, a character", "share", False),
    MeasureOf("correct_prob", "Probability of the answer", "probability", False),
    MeasureOf("correct_prob_per_char", "Probability a character", "probability", False),
    MeasureOf("norm_correct_prob", "Share of the answer", "share", False),
    MeasureOf("margin", "Margin of the answer", "probability", False),
    MeasureOf("response_bits_per_byte", "Bits a byte of the response", "bits", True),
    MeasureOf("exact_match", "Exact match", "share", False),
)

METRICS = (
    MetricOf("gain", "gain", "nats per word"),
    MetricOf("kl_reduction", "KL reduction", "nats"),
    MetricOf("right_share", "Share of the right field", "share"),
    MetricOf("contamination", "Validation documents hit", "share"),
    MetricOf("distinct_2", "Distinct 2-grams", "share"),
    MetricOf("compression", "Compression ratio", "ratio", -1),
    MetricOf("duplicates", "Repeated documents", "share", -1),
    MetricOf("effective_share", "Effective sample size / chosen", "share"),
    MetricOf("length_correlation", "Length correlation", "Spearman"),
    MetricOf("document_bytes", "Mean length", "bytes"),
    MetricOf("unique_tokens", "Tokens chosen", "tokens"),
    MetricOf("groups_covered", "Groups covered", "share"),
    MetricOf("tail_covered", "Small groups covered", "share"),
)

_LOWER = {measure.name: measure.lower_is_better for measure in MEASURES}
_SIGN = {metric.name: metric.sign for metric in METRICS}


def sign_of(metric: str, measure: str) -> int:
    """Which way a measure is expected to go when a metric grows: 1 up, -1 down."""
    return -_SIGN[metric] if _LOWER[measure] else _SIGN[metric]
