"""The attribution in the terminal: for each query, who helps and who harms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console

from dataworth.report.attribution_page import checked
from dataworth.report.summary import data, print_rows, styled
from dataworth.results import doubts
from dataworth.results import format as f
from dataworth.results.attribution import Attribution, Document, Query
from dataworth.results.inert import visible

SHOWN = 10  # queries
_WORDS = 90  # characters of a text


def show(attribution: Attribution, console: Console) -> None:
    """Print the queries with their documents, then what to distrust."""
    title = f"What helps and harms {visible(attribution['model'], 120)}"
    print_rows(console, _rows(attribution), title)
    for query in attribution["queries"][:SHOWN]:
        _query(query, console)
    more = len(attribution["queries"]) - SHOWN
    if more > 0:
        console.print(styled(console, f"{more:,} more queries in attribution.json"))
    found = doubts.attribution(attribution)
    console.print(styled(console, "What to distrust", "bold"))
    for doubt in found:
        console.print(data(console, f"  - {doubt}", "yellow"), soft_wrap=True)
    for note in attribution["notes"]:
        console.print(data(console, f"  - {visible(note, 400)}"), soft_wrap=True)


def _rows(attribution: Attribution) -> Iterator[tuple[str, str, str]]:
    yield "scored", f.count(attribution["documents"]), "documents"
    yield "  tokens", f.count(attribution["tokens"]), ""
    yield "parameters", f.count(attribution["parameters"]), "that count"
    if "context" in attribution:
        yield "context", f.count(attribution["context"]), "tokens at once"
    yield "solver", visible(attribution["solver"], 40), visible(attribution["about"], 250)
    if "check" in attribution:
        check = attribution["check"]
        known = "correlation" in check
        yield "check", f"{check['correlation']:.2f}" if known else "none", checked(check)
    told, used = attribution["predicted"], attribution["used"]
    for name, key, how in (("time", "seconds", f.duration), ("memory", "memory", f.size)):
        now = used.get(key)
        yield (
            name,
            how(told.get(key) if now is None else now),
            "estimated" if now is None else f"estimated {how(told.get(key))}",
        )


def _query(query: Query, console: Console) -> None:
    console.print()
    said = f"Query {query['number']}: {visible(query['text'], _WORDS)}"
    console.print(data(console, said, "bold"), soft_wrap=True)
    _side(console, "helps", query["helpful"])
    _side(console, "harms", query["harmful"])


def _side(console: Console, name: str, documents: Sequence[Document]) -> None:
    if not documents:
        console.print(styled(console, f"  {name:<6} none"))
    for document in documents:
        text = visible("".join(piece for piece, _ in document["pieces"])[:400], _WORDS)
        line = f"  {name:<6} {f.real(document['score'], signed=True):>10}  {text}"
        console.print(data(console, line), soft_wrap=True)


__all__ = ["show"]
