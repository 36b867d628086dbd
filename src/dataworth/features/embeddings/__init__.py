"""Embeddings: documents → vectors. Models are loaded when they are first used, not before."""

from dataworth.features.embeddings.base import Embedder, Vectors, unit_rows
from dataworth.features.embeddings.causal import StateAverage, TokenAverage
from dataworth.features.embeddings.centring import Centring, fit_centring
from dataworth.features.embeddings.distilled import DistilledVectors, distil
from dataworth.features.embeddings.kmeans import Clusters, kmeans, round_robin
from dataworth.features.embeddings.preceding import nearest_before
from dataworth.features.embeddings.projection import NgramProjection
from dataworth.features.embeddings.sentence import SentenceModel
from dataworth.features.embeddings.words import WordVectors

__all__ = [
    "Centring",
    "Clusters",
    "DistilledVectors",
    "Embedder",
    "NgramProjection",
    "SentenceModel",
    "StateAverage",
    "TokenAverage",
    "Vectors",
    "WordVectors",
    "distil",
    "fit_centring",
    "kmeans",
    "nearest_before",
    "round_robin",
    "unit_rows",
]
