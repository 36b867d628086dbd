"""Gradients, curvature and scores beside bergson, kronfluence, dattri and traker.

    python benchmarks/gradient_peers.py --peers PYTHON [--rounds 3] [--sizes tiny small]

PYTHON is that of an environment with the four and dataworth (benchmarks/README.md says how to make
it); a library may have one of its own: `--peer bergson=PYTHON`. All get the same small language
model as a Hugging Face folder, the same sequences, one thread and float32, and cover the same
parameters: the linear layers of the transformer's blocks. Each does each job in a process of its
own, in turns, `--rounds` times. Seconds are those of the work alone, without imports and loading
the model; shown are medians, and the median over the rounds of the ratio of CPU seconds to ours
(on a quiet machine they are those of the clock). The peak is that of the whole process, as the
kernel tells it; the work's part is what exceeds the process that has loaded the model. What is done
is kept: the same command goes on. Last, the tests of agreement run and their figures are shown.

Writes benchmarks/results/gradient_peers.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

from agreeing import agreement_table
from common import MB, ROOT, data_folder, scratch, table, write_results
from dataworth.corpus.corpus import Corpus
from dataworth.lm.model import SIZES, Size, build, save_model
from dataworth.lm.packing import open_stream, sequences, write_stream
from dataworth.lm.tokenizer import END, load_tokenizer, save_tokenizer, train_tokenizer
from dataworth.lm.training import TrainConfig, train

OURS = "dataworth"
JOBS: dict[str, tuple[str, tuple[str, ...]]] = {
    "identity": ("plain inner products", (OURS, "kronfluence", "bergson", "dattri")),
    "diagonal": ("diagonal Fisher", (OURS, "kronfluence")),
    "kfac": ("K-FAC", (OURS, "kronfluence", "bergson")),
    "ekfac": ("EK-FAC", (OURS, "kronfluence", "bergson")),
    "cg": (
        "conjugate gradients on the Hessian of 8 sequences, 2 queries, 5 steps",
        (OURS, "dattri"),
    ),
    "store": ("a store, two-sided projection, 16 by 16 a layer", (OURS, "bergson", "dattri")),
    "trak": ("TRAK, dense projection to 1,024", (OURS, "traker", "bergson", "dattri")),
    "sparse": ("the same, sparse projection", (OURS,)),
}
"""What is done, and by whom. dattri's EK-FAC takes no sequences (0.3.0 fails on 3 dimensions)."""

CURVE = (
    "two:4",
    "two:8",
    "two:12",
    "sparse:256",
    "sparse:512",
    "sparse:1024",
    "sparse:1536",
    "sparse:2048",
)
"""Our stores of several sizes, for the size at equal fidelity."""

CONTEXT = 4096
"""Positions the model is said to know: bergson refuses batches of more tokens."""

TIME_LIMIT = 3600.0
MEMORY_LIMIT = 12 << 30
SEQUENCES = {"tiny": 256, "small": 128}
DOCUMENTS = 3_000


@dataclass(frozen=True)
class Turn:
    """One library's job in one round."""

    seconds: float
    cpu: float
    phases: dict[str, float]
    peak: int
    above: int
    stored: int


def main() -> None:
    """Run the rounds and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", help="the Python of an environment that has all peers")
    parser.add_argument("--peer", nargs="*", default=[], help="NAME=PYTHON for one of them")
    parser.add_argument("--sizes", nargs="*", default=list(SEQUENCES), choices=list(SIZES))
    parser.add_argument("--documents", type=int, help=f"sequences; else {SEQUENCES}")
    parser.add_argument("--length", type=int, default=128, help="tokens of a sequence")
    parser.add_argument("--queries", type=int, default=16)
    parser.add_argument("--batch", type=int, default=16, help="sequences of a batch, for all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", nargs="*", default=list(JOBS), choices=list(JOBS))
    parser.add_argument("--fresh", action="store_true", help="forget what was done before")
    parser.add_argument("--no-agreement", action="store_true", help="leave the tests out")
    parser.add_argument("--no-results", action="store_true", help="print the table only")
    given = parser.parse_args()
    pythons = interpreters(given.peers, given.peer)
    body = ""
    for size in given.sizes:
        documents = given.documents or SEQUENCES.get(size, 64)
        name = f"{size}-{documents}-{given.length}-{given.queries}-{given.batch}"
        folder = scratch("gradient_peers") / name
        if given.fresh:
            shutil.rmtree(folder, ignore_errors=True)
        if not (folder / "work.json").exists():
            make_work(folder, given, SIZES[size], documents)
        turns = run_all(folder, given.jobs, given.rounds, pythons)
        body += f"## {size}: {describe(size)}, {documents} sequences\n\n"
        body += report(folder, turns, documents)
    if not given.no_agreement:
        body += agreement_table(pythons)
    print(body)
    if not given.no_results:
        settings = {
            "command": "python benchmarks/gradient_peers.py " + asked_for(pythons),
            "data": f"sequences of {given.length} tokens, {given.queries} queries, batches of "
            f"{given.batch} sequences, one thread, float32",
            "rounds": given.rounds,
            **versions(pythons),
        }
        title = "Gradients, curvature and scores beside bergson, kronfluence, dattri and traker"
        write_results("gradient_peers", title, settings=settings, body=body)


def asked_for(pythons: dict[str, str]) -> str:
    """The arguments; where an interpreter lies is nobody else's concern."""
    words = " ".join(sys.argv[1:])
    for path in set(pythons.values()) - {sys.executable}:
        words = words.replace(path, "PYTHON")
    return words


def interpreters(every: str | None, single: Sequence[str]) -> dict[str, str]:
    """The Python of each library; those without one are left out."""
    found = {OURS: sys.executable}
    names = {name for _, doers in JOBS.values() for name in doers} - {OURS}
    if every:
        found |= dict.fromkeys(sorted(names), every)
    for item in single:
        name, _, path = item.partition("=")
        if name not in names or not path:
            raise SystemExit(f"--peer {item}: give NAME=PYTHON, NAME of {', '.join(sorted(names))}")
        found[name] = path
    return found


def make_work(folder: Path, given: argparse.Namespace, size: Size, documents: int) -> None:
    """A model trained for a moment, and sequences of real text that no tokenizer can change."""
    folder.mkdir(parents=True, exist_ok=True)
    texts: list[str] = []
    corpus = Corpus.open(data_folder() / "pool")
    for unit in corpus.units:
        found = next(iter(corpus.blocks(unit))).documents
        texts += found.texts()[: DOCUMENTS // len(corpus.units)]
    save_tokenizer(train_tokenizer(texts, size.model.vocabulary), folder)
    write_stream(texts, load_tokenizer(folder), folder / "stream")
    stream = open_stream(folder / "stream")
    config = TrainConfig(100_000, size.learning_rate, batch_sequences=size.batch_sequences)
    save_model(train(build(size.model), stream, config).model, folder / "model", named(size))
    known = {"config": "max_position_embeddings", "tokenizer_config": "model_max_length"}
    for name, key in known.items():
        facts = folder / "model" / f"{name}.json"
        changed = json.loads(facts.read_text("utf-8")) | {key: CONTEXT}
        facts.write_text(json.dumps(changed), "utf-8")
    ids, _ = sequences(stream, given.length, 10_000_000, 1).batch(0, documents + given.queries)
    for name, rows in (("train", ids[:documents]), ("queries", ids[documents:])):
        np.save(folder / f"{name}.npy", rows.astype(np.int64))
        lines = [json.dumps({"text": " ".join(f"t{i}" for i in row)}) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    settings = {
        "batch": given.batch,
        "side": 16,
        "dimension": 1024,
        "ridge": 1e-3,
        "cg_train": 8,
        "cg_queries": 2,
        "cg_steps": 5,
        "cg_ridge": 1000.0,  # more than the most negative direction
    }
    (folder / "work.json").write_text(json.dumps(settings), "utf-8")


def named(size: Size) -> Tokenizer:
    """A tokenizer whose words are the ids' names, so that texts and ids say the same."""
    vocabulary = {f"t{i}": i for i in range(size.model.vocabulary - 1)}
    vocabulary[END] = size.model.vocabulary - 1
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=END))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def run_all(
    folder: Path, jobs: Sequence[str], rounds: int, pythons: dict[str, str]
) -> dict[str, dict[str, list[Turn]]]:
    """All turns, by job and library; those that were done before are read."""
    found: dict[str, dict[str, list[Turn]]] = {job: {} for job in jobs}
    if {"store", "trak"} & set(jobs):
        found |= {job: {} for job in CURVE}
    for number in range(rounds):
        for job in found:
            doers = JOBS[job][1] if job in JOBS else (OURS,)
            if number and job in CURVE:
                continue
            # The order turns with the round, so that none is always the first.
            for name in (*doers[number % len(doers) :], *doers[: number % len(doers)]):
                if name not in pythons:
                    continue
                turn = one_turn(folder, job, name, number, pythons[name])
                if turn is not None:
                    found[job].setdefault(name, []).append(turn)
    return found


def one_turn(folder: Path, job: str, name: str, number: int, python: str) -> Turn | None:
    """A process of its own; None if it failed, which is said, and its output kept."""
    out = folder / f"{number}-{job.replace(':', '-')}-{name}"
    kept = out.with_suffix(".json")
    if not kept.exists():
        shutil.rmtree(out, ignore_errors=True)
        words = [python, "-m", f"peers.run_{name}", str(folder), job, str(out)]
        with out.with_suffix(".log").open("wb") as log:
            place = Path(__file__).parent
            child = subprocess.Popen(
                words, stdout=log, stderr=subprocess.STDOUT, cwd=place, preexec_fn=limited
            )
            timer = threading.Timer(TIME_LIMIT, child.kill)
            timer.start()
            status = child.wait()
            timer.cancel()
        facts: dict[str, Any] = {"failed": status}
        if not status:
            facts |= json.loads((out / "facts.json").read_text("utf-8"))
        # Scores are compared; the rest was there for the clock alone.
        for path in out.iterdir() if out.exists() else []:
            if path.is_dir():
                shutil.rmtree(path)
        kept.write_text(json.dumps(facts), "utf-8")
        print(job, name, facts, flush=True)
    facts = json.loads(kept.read_text("utf-8"))
    if facts["failed"]:
        print(f"{job}: {name} failed, see {out.with_suffix('.log')}", flush=True)
        return None
    phases = facts["phases"]
    seconds, above = sum(phases.values()), facts["peak"] - facts["before"]
    return Turn(seconds, facts["cpu"], phases, facts["peak"], above, facts["stored"])


def limited() -> None:
    """One that takes too much memory fails alone, not with the rest of the machine."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))


def report(folder: Path, turns: dict[str, dict[str, list[Turn]]], documents: int) -> str:
    """Both tables."""
    rows = []
    for job, doers in turns.items():
        if job not in JOBS:
            continue
        for name in doers:
            done = doers[name]
            rows.append(
                [
                    JOBS[job][0],
                    name,
                    statistics.median(turn.seconds for turn in done),
                    shown_phases(done),
                    statistics.median(turn.cpu for turn in done),
                    shown_ratio(done, doers.get(OURS, []), name),
                    round(statistics.median(turn.peak for turn in done) / MB),
                    round(statistics.median(turn.above for turn in done) / MB),
                    shown_agreement(folder, job, name),
                ]
            )
    text = table(HEADER, rows)
    if any(job in turns for job in ("store", "trak")):
        text += "\nStores:\n\n" + table(STORES, stores(folder, turns, documents))
    return text + "\n"


HEADER = (
    *("job", "library", "seconds", "of these", "CPU seconds", "times ours"),
    *("peak, MB", "of it the work's", "Spearman with ours"),
)
STORES = (
    *("store", "library", "bytes a sequence", "correlation with exact scores"),
    *("ours at no less: bytes", "times ours"),
)


def shown_phases(done: list[Turn]) -> str:
    """The median seconds of each phase, if there are several."""
    names = list(done[0].phases)
    if len(names) < 2:
        return ""
    medians = {n: statistics.median(turn.phases[n] for turn in done) for n in names}
    return ", ".join(f"{name} {value:.2f}" for name, value in medians.items())


def shown_ratio(done: list[Turn], ours: list[Turn], name: str) -> str:
    """How many times our CPU seconds a library takes, in the same rounds."""
    if name == OURS or not ours:
        return ""
    pairs = zip(done, ours, strict=False)
    return f"{statistics.median(a.cpu / b.cpu for a, b in pairs):.2f}"


def read(folder: Path, job: str, name: str, kind: str = "scores") -> np.ndarray | None:
    """The scores of the first round."""
    path = folder / f"0-{job.replace(':', '-')}-{name}" / f"{kind}.npy"
    return np.load(path) if path.exists() else None


def shown_agreement(folder: Path, job: str, name: str) -> str:
    """The mean over queries of the rank correlation with our scores for the same job."""
    from scipy.stats import spearmanr

    ours, theirs = read(folder, job, OURS), read(folder, job, name)
    # Random projections differ from library to library.
    if name == OURS or ours is None or theirs is None or job == "trak":
        return ""
    return f"{np.mean([spearmanr(a, b)[0] for a, b in zip(ours.T, theirs.T, strict=True)]):.4f}"


def fidelity(folder: Path, job: str, name: str) -> float:
    """The mean over queries of the correlation of a store's scores with the exact ones."""
    exact, found = read(folder, "identity", OURS), read(folder, job, name, "stored")
    if exact is None or found is None:
        return float("nan")
    pairs = zip(exact.T, found.T, strict=True)
    return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs]))


def ours_in_words(job: str) -> str:
    """A store of `CURVE`."""
    kind, _, numbers = job.partition(":")
    return f"two-sided, {numbers} by {numbers} a layer" if kind == "two" else f"sparse, {numbers}"


def stores(
    folder: Path, turns: dict[str, dict[str, list[Turn]]], documents: int
) -> list[list[object]]:
    """Size and fidelity of each store, and the smallest of ours that is as faithful."""
    found = [
        (job, name, done[0].stored / documents, fidelity(folder, job, name))
        for job, doers in turns.items()
        for name, done in doers.items()
        if done[0].stored
    ]
    rows: list[list[object]] = []
    for job, name, size, close in found:
        enough = [s for _, n, s, c in found if n == OURS and c >= close]
        best = min(enough, default=float("nan"))
        label = JOBS[job][0] if job in JOBS else ours_in_words(job)
        theirs = ["", ""] if name == OURS else [f"{best:,.0f}", f"{size / best:.1f}"]
        rows.append([label, name, round(size), f"{close:.4f}", *theirs])
    return rows


def describe(size: str) -> str:
    """The model in words."""
    shape = SIZES[size].model
    return (
        f"Llama of {shape.layers} layers, {shape.hidden} wide, {shape.parameters:,} parameters, "
        "trained on 100,000 tokens"
    )


def versions(pythons: dict[str, str]) -> dict[str, str]:
    """Of the peers."""
    found = {}
    for name, python in pythons.items():
        if name != OURS:
            code = f"from importlib.metadata import version; print(version('{name}'))"
            done = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=ROOT)
            found[name] = done.stdout.strip() or "not found"
    return found


if __name__ == "__main__":
    main()
