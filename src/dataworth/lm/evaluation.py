"""Losses that a language model gives documents, answer options, and whole responses.

Everything is computed in float32, unless another precision is asked for, and summed in float64. A
text longer than the model's context is read in windows: each begins `overlap` of the context
before the first token that it is to predict, so that (but for the first window) each token is
predicted from at least that many tokens before it. Every token counts once. The first token of a
text is predicted from the end token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from dataworth.errors import ConfigError
from dataworth.lm.llama import LanguageModel
from dataworth.lm.predictions import Hits, Ints, Nats, predict
from dataworth.lm.steps import Precision
from dataworth.lm.tokenizer import edges, end_token

BATCH_TOKENS = 4096
OVERLAP = 0.5
"""Share of the context that a window shares with the one before it."""


@dataclass(frozen=True)
class DocumentLosses:
    """Losses of documents: nats float64 [n] summed over each one's tokens, tokens, bytes int64 [n].

    The end token after a document counts as one of its tokens and has no bytes.
    """

    nats: Nats
    tokens: Ints
    bytes: Ints

    @property
    def loss(self) -> float:
        """Nats a token over all documents."""
        return float(self.nats.sum() / self.tokens.sum())

    @property
    def bits_per_byte(self) -> float:
        """Bits a byte of UTF-8 over all documents: comparable between tokenizers."""
        return float(self.nats.sum() / np.log(2) / self.bytes.sum())


@dataclass(frozen=True)
class OptionScores:
    """The options of one question: summed log p float64 [k], tokens and characters int64 [k]."""

    log_probs: Nats
    tokens: Ints
    chars: Ints


@dataclass(frozen=True)
class Cloze:
    """Responses given their prompts: is each of their tokens the likeliest one?

    exact: bool [n], all of them are. matched, tokens: int64 [n], how many are, of how many. nats:
    float64 [n], minus the summed log p.
    """

    exact: Hits
    matched: Ints
    tokens: Ints
    nats: Nats

    @property
    def accuracy(self) -> float:
        """Share of responses that greedy decoding gives exactly."""
        return float(self.exact.mean())


def document_losses(
    model: LanguageModel,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    batch_tokens: int = BATCH_TOKENS,
    context: int | None = None,
    overlap: float = OVERLAP,
    threads: int = 1,
    precision: Precision = "float32",
) -> DocumentLosses:
    """Return the loss of each text and the end token after it; `context`: the model's if None.

    A batch has about `batch_tokens` tokens; `threads` are torch's. Raises ConfigError for no texts.
    """
    each = token_losses(
        model,
        tokenizer,
        texts,
        batch_tokens=batch_tokens,
        context=context,
        overlap=overlap,
        threads=threads,
        precision=precision,
    )
    return DocumentLosses(
        np.array([float(one.sum()) for one in each]),
        np.array([len(one) for one in each], np.int64),
        np.array([len(text.encode()) for text in texts], np.int64),
    )


def token_losses(
    model: LanguageModel,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    batch_tokens: int = BATCH_TOKENS,
    context: int | None = None,
    overlap: float = OVERLAP,
    threads: int = 1,
    precision: Precision = "float32",
) -> list[Nats]:
    """Return the loss of each token of each text in nats, the end token last: float64 arrays."""
    start, end = _edges(model, tokenizer)
    items = [[start, *ids, end] for ids in _encode(tokenizer, texts)]
    size = context or model.context
    predictions = predict(
        model, items, [1] * len(items), size, overlap, batch_tokens, threads, precision
    )
    return [nats for nats, _ in predictions]


def choice_log_probs(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    options: Sequence[Sequence[str]],
    *,
    batch_tokens: int = BATCH_TOKENS,
    context: int | None = None,
    threads: int = 1,
    precision: Precision = "float32",
) -> list[OptionScores]:
    """Return the log probability of each option after its prompt; `options[i]`: of `prompts[i]`.

    Prompt and option are tokenised together, and blanks at the prompt's end count as the
    option's, as in lm-evaluation-harness. What is too long for the context is read in windows.
    `chars` are those of the option. Raises ConfigError if the two lists differ in length.
    """
    if len(prompts) != len(options):
        raise ConfigError(f"{len(prompts)} prompts have {len(options)} lists of options")
    pairs = [(prompt, text) for prompt, some in zip(prompts, options, strict=True) for text in some]
    scored = iter(
        _continuations(model, tokenizer, pairs, batch_tokens, context, threads, precision)
    )
    out = []
    for some in options:
        part = [next(scored)[0] for _ in some]
        out.append(
            OptionScores(
                np.array([-float(nats.sum()) for nats in part]),
                np.array([len(nats) for nats in part], np.int64),
                np.array([len(text) for text in some], np.int64),
            )
        )
    return out


def cloze(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    responses: Sequence[str],
    *,
    batch_tokens: int = BATCH_TOKENS,
    context: int | None = None,
    threads: int = 1,
    precision: Precision = "float32",
) -> Cloze:
    """Score each response: if greedy decoding after its prompt gives it, and its loss.

    Tokenised as in `choice_log_probs`. Raises ConfigError if the two lists differ in length.
    """
    if len(prompts) != len(responses):
        raise ConfigError(f"{len(prompts)} prompts have {len(responses)} responses")
    pairs = list(zip(prompts, responses, strict=True))
    scored = _continuations(model, tokenizer, pairs, batch_tokens, context, threads, precision)
    return Cloze(
        np.array([bool(hits.all()) for _, hits in scored]),
        np.array([int(hits.sum()) for _, hits in scored], np.int64),
        np.array([len(hits) for _, hits in scored], np.int64),
        np.array([float(nats.sum()) for nats, _ in scored]),
    )


def greedy_match(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    responses: Sequence[str],
    *,
    batch_tokens: int = BATCH_TOKENS,
    context: int | None = None,
    threads: int = 1,
    precision: Precision = "float32",
) -> Hits:
    """Return `cloze(...).exact`: bool [n]."""
    found = cloze(
        model,
        tokenizer,
        prompts,
        responses,
        batch_tokens=batch_tokens,
        context=context,
        threads=threads,
        precision=precision,
    )
    return found.exact


def _continuations(
    model: LanguageModel,
    tokenizer: Tokenizer,
    pairs: Sequence[tuple[str, str]],
    batch_tokens: int,
    context: int | None,
    threads: int,
    precision: Precision,
) -> list[tuple[Nats, Hits]]:
    """Return for each (prompt, continuation) its tokens' nats, and which are the likeliest."""
    start, _ = _edges(model, tokenizer)
    whole = _encode(tokenizer, [prompt + text for prompt, text in pairs])
    before = _encode(tokenizer, [prompt.rstrip() for prompt, _ in pairs])
    items = [[start, *ids] for ids in whole]
    # A merge across the border may leave fewer tokens than the prompt has: one remains to predict.
    firsts = [
        1 + max(min(len(prompt), len(ids) - 1), 0)
        for prompt, ids in zip(before, whole, strict=True)
    ]
    size = context or model.context
    return predict(model, items, firsts, size, OVERLAP, batch_tokens, threads, precision)


def _encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    if not texts:
        raise ConfigError("there are no texts to evaluate")
    batch = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return [one.ids for one in batch]


def _edges(model: LanguageModel, tokenizer: Tokenizer) -> tuple[int, int]:
    """Return the ids before and after a document: of a model from elsewhere, those it names."""
    source = getattr(model, "source", None)
    if source is None:
        end = end_token(tokenizer)
        return end, end
    return edges(getattr(tokenizer, "inner", tokenizer), source)  # one that remembers
