"""`dataworth judge`."""

from __future__ import annotations

from typing import Any

from dataworth.cli.building import Result, command
from dataworth.cli.options import Workers
from dataworth.cli.show import console, show_places
from dataworth.options.calls import JudgeOptions


@command(JudgeOptions, Workers)
def judge(given: dict[str, Any]) -> Result:
    """Is a selection any good? Measured on its text, without training.

    How much nearer to the target it is than random documents, how varied, how
    much of it is there twice, what it is made of, whether it holds the text that
    models will be measured on, and what it shares with other selections.

    [bold]Examples[/]

    \b
    dataworth judge out/
    dataworth judge out/ --validation math=math-val.jsonl --against other/
    dataworth judge 'theirs/*.parquet' --pool pool/ --target math=math.jsonl \\
        --group-by domain --out judged/
    """
    import dataworth

    judgement = dataworth.judge(**given)

    def show() -> None:
        from dataworth.report import judgement_summary

        judgement_summary.show(judgement.metrics, console())
        if "out" in given:
            names = {"metrics": "metrics.json", "report": "report.html"}
            show_places({name: given["out"] / file for name, file in names.items()})

    return Result(judgement.metrics, show)
