"""The models: presets, and the names by which the rest of dataworth makes, saves and loads them.

```python
model = build(SIZES["tiny"].model, seed=0)
save_model(model, "proxy/", tokenizer)      # transformers loads it too
model = load_model("proxy/")                # or any causal model of Hugging Face
```
"""

from __future__ import annotations

from dataclasses import dataclass

from dataworth.lm.llama import CausalLM, LanguageModel, ModelConfig, build
from dataworth.lm.storage import HuggingFaceLM, load_model, save_model

__all__ = [
    "SIZES",
    "CausalLM",
    "HuggingFaceLM",
    "LanguageModel",
    "ModelConfig",
    "Size",
    "build",
    "load_model",
    "save_model",
]


@dataclass(frozen=True)
class Size:
    """A preset: a shape with the batch and the learning rate that were found for it.

    How they were found is in docs/lm.md. batch_sequences: sequences of `model.context` tokens.
    """

    model: ModelConfig
    learning_rate: float
    batch_sequences: int


SIZES = {
    "tiny": Size(ModelConfig(48, 2, 3, 128, context=128), 1e-2, 4),
    "small": Size(ModelConfig(128, 4, 4, 344, context=128), 4e-3, 4),
    "medium": Size(ModelConfig(256, 6, 8, 688, context=256), 2e-3, 4),
}
"""Sizes for a vocabulary of 4,096: about 0.25, 1.3 and 5.8 million parameters."""
