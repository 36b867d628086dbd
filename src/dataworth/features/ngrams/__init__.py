"""Hashed n-grams: tokens, hashes and counts."""

from dataworth.features.ngrams.hashed import HashedNgrams, NgramCounts, NgramScores

__all__ = ["HashedNgrams", "NgramCounts", "NgramScores"]
