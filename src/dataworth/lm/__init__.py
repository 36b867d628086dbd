"""Small language models: tokenizers, packed sequences, a causal model, training, evaluation."""
