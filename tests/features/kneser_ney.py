"""Modified Kneser-Ney smoothing by its definition, with dictionaries: as simple as can be."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from typing import Any


def sentences(some: list[str]) -> list[list[str]]:
    cut = [re.findall(r"\w+|[^\w\s]+", line.lower()) for text in some for line in text.split("\n")]
    return [["<s>", *line, "</s>"] for line in cut if line]


class Naive:
    """The model by its definition."""

    def __init__(self, lines: list[list[str]], order: int) -> None:
        raw: list[Counter[Any]] = [Counter() for _ in range(order)]
        for line in lines:
            for end in range(1, len(line)):
                for n in range(1, min(order, end + 1) + 1):
                    raw[n - 1][tuple(line[end - n + 1 : end + 1])] += 1
        self.vocabulary = {word for line in lines for word in line} - {"<s>"} | {"<unk>"}
        self.counts = []
        for n in range(order):
            counts: Counter[Any] = Counter(raw[n])
            if n + 1 < order:
                before = defaultdict(set)
                for gram in raw[n + 1]:
                    before[gram[1:]].add(gram[0])
                for gram in counts:
                    if gram[0] != "<s>":
                        counts[gram] = len(before[gram])
            self.counts.append(counts)

    def discount(self, n: int, count: int) -> float:
        t = [sum(c == i for c in self.counts[n].values()) for i in range(1, 5)]
        if t[0] and t[1] and t[2]:
            y = t[0] / (t[0] + 2 * t[1])
            d = [i - (i + 1) * y * t[i] / t[i - 1] for i in (1, 2, 3)]
            if all(0 < one <= i for i, one in enumerate(d, 1)):
                return d[min(count, 3) - 1]
        return min(count, 3) / 2

    def probability(self, word: str, history: tuple[str, ...]) -> float:
        n = len(history)
        below = 1 / len(self.vocabulary) if not n else self.probability(word, history[1:])
        after = {g: c for g, c in self.counts[n].items() if g[:-1] == history}
        total = sum(after.values())
        if not total:
            return below
        free = sum(self.discount(n, c) for c in after.values()) / total
        count = self.counts[n][(*history, word)]
        own = (count - self.discount(n, count)) / total if count else 0.0
        return own + free * below

    def log10(self, some: list[str], order: int) -> float:
        total = 0.0
        for line in sentences(some):
            known = [word if word in self.vocabulary or word == "<s>" else "<unk>" for word in line]
            for end in range(1, len(known)):
                history = tuple(known[max(0, end - order + 1) : end])
                total += math.log10(self.probability(known[end], history))
        return total
