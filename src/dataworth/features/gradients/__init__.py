"""Gradients of single examples: the base of every method that asks what training on one does."""

from dataworth.errors import MissingExtra

try:
    import torch  # noqa: F401
except ImportError as error:
    raise MissingExtra("gradients of language models", "lm") from error

from dataworth.features.gradients.batches import Batch, Examples
from dataworth.features.gradients.blocks import Block, Blocks
from dataworth.features.gradients.engine import Gradients
from dataworth.features.gradients.factors import Factors
from dataworth.features.gradients.task import (
    CausalLM,
    FunctionTask,
    SequenceClassification,
    Supervised,
    Task,
)

__all__ = [
    "Batch",
    "Block",
    "Blocks",
    "CausalLM",
    "Examples",
    "Factors",
    "FunctionTask",
    "Gradients",
    "SequenceClassification",
    "Supervised",
    "Task",
]
