"""Tiny models of random weights, for tests of features: made in no time, used as any other."""

from __future__ import annotations

import re
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers


def causal_folder(folder: Path, texts: list[str], *, hidden: int = 32, seed: int = 0) -> Path:
    """A causal model of ours with a tokenizer of 400 tokens, context 32; all weights are random."""
    import torch

    from dataworth.lm.model import ModelConfig, build, save_model
    from dataworth.lm.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(texts, 400)
    config = ModelConfig(hidden, 2, 2, 2 * hidden, vocabulary=400, context=32)
    model = build(config, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3, generator=generator)
    save_model(model, folder, tokenizer)
    return folder


def transformers_folder(folder: Path, texts: list[str]) -> Path:
    """A GPT-2 of transformers with a tokenizer of 400 tokens, 48 positions."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from dataworth.lm.tokenizer import save_tokenizer, train_tokenizer

    config = GPT2Config(
        vocab_size=400,
        n_positions=48,
        n_embd=32,
        n_layer=2,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.3,
    )
    import torch

    torch.manual_seed(0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    save_tokenizer(train_tokenizer(texts, 400), folder)
    return folder


def sentence_folder(folder: Path, texts: list[str]) -> Path:
    """A sentence-transformers model: BERT of random weights, mean pooling, 40 tokens."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import (
        Normalize,
        Pooling,
        Transformer,
    )
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=500, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    inner = folder / "inner"
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=500,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    BertModel(config).save_pretrained(inner)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
    ).save_pretrained(inner)
    first = Transformer(str(inner))
    first.max_seq_length = 40
    model = SentenceTransformer(modules=[first, Pooling(32, "mean"), Normalize()], device="cpu")
    model.save(str(folder / "model"))
    return folder / "model"


def head_folder(folder: Path, texts: list[str], *, labels: int = 1, seed: int = 0) -> Path:
    """A BERT of random weights with a head of some labels, 24 positions."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    # Not trained: the trainer breaks ties in another way in each process.
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789"]
    words = sorted({word for text in texts for word in re.findall(r"[a-z]{2,}", text.lower())})
    vocabulary = [*special, *letters, *(f"##{letter}" for letter in letters), *words[:200]]
    known = {word: number for number, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(known, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=300,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
        initializer_range=0.5,
        num_labels=labels,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=24,
    ).save_pretrained(folder)
    return folder


def estimator_file(path: Path, texts: list[str], labels: list[bool]) -> Path:
    """A logistic regression of scikit-learn on counts of words, as a skops file."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from skops.io import dump

    dump(make_pipeline(CountVectorizer(), LogisticRegression()).fit(texts, labels), path)
    return path
