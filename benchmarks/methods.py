"""The methods on text alone, compared by small models: the table of a comparison that was run.

    dataworth compare benchmarks/plans/methods-60k.yaml --out FOLDER
    python benchmarks/methods.py FOLDER

`plans/methods-60k.yaml` is a first look, `plans/methods.yaml` the first rung of the comparison that
counts. Writes results/NAME.md, by the name of the plan that is given (--name).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from common import write_results
from compare import counts_table, loss_table
from dataworth.comparing.comparison import load_comparison


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--name", default="methods-60k")
    options = parser.parse_args()
    made = load_comparison(options.folder)
    body = (
        "Loss on the target's validation text in nats per token, less that of random documents, "
        "whose own loss is given; with its 95 % interval over seeds; bold where it is better than "
        f"random beyond doubt.\n\n{loss_table(made)}\n\n{counts_table(made)}"
    )
    settings = {"plan": f"benchmarks/plans/{options.name}.yaml"}
    print(write_results(options.name, "Methods on text alone", settings=settings, body=body))


if __name__ == "__main__":
    main()
