"""Plans: read from any form, checked before any work, and written so that they read back equal."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from dataworth.comparing.choices import Chosen
from dataworth.comparing.comparison import outline
from dataworth.comparing.minutes import Cost, fit, seconds_for
from dataworth.comparing.plan import SizePlan, unlabelled
from dataworth.comparing.reading import read_plan
from dataworth.comparing.sizes import resolve
from dataworth.errors import ConfigError
from flow.comparing import plan_of


def small(**changes: Any) -> dict[str, Any]:
    return plan_of(Path("/data"), **changes)


class TestReading:
    def test_reads_back_equal(self) -> None:
        read = read_plan(
            small(
                selections={
                    "one": {"steps": [{"dsir": {"ngrams": 3}}], "quotas": ["domain=red:30%"]},
                    "sum": {
                        "steps": ["dsir", "dsir(ngrams=1)"],
                        "utility": "dsir + 0.5*dsir_2",
                        "scale": "rank",
                    },
                    "theirs": {"from": "there/{target}-{seed}", "bound": True},
                    "right": {"mechanism": "random", "bound": True},
                },
                minutes=5,
            )
        )
        assert [item.name for item in read.candidates if item.bound] == ["theirs", "right"]
        assert read_plan(read.as_dict()) == read
        assert read_plan({"plan": read.as_dict(), "asked": {}}) == read
        resolved = resolve(read)
        assert read_plan(resolved.as_dict()) == resolved
        assert resolve(resolved) == resolved

    def test_file_and_mapping_are_the_same(self, tmp_path: Path) -> None:
        given = small()
        (tmp_path / "plan.yaml").write_text(yaml.safe_dump(given, sort_keys=False))
        assert read_plan(tmp_path / "plan.yaml") == read_plan(given)

    def test_numbers_with_an_exponent_are_numbers(self, tmp_path: Path) -> None:
        (tmp_path / "plan.yaml").write_text(
            yaml.safe_dump(small(), sort_keys=False)
            + "training: {epsilon: 1e-7, betas: [0.9, 99e-2], precision: float32}\n"
        )
        resolved = resolve(read_plan(tmp_path / "plan.yaml"))
        assert resolved.training["epsilon"] == 1e-7 and resolved.training["betas"] == [0.9, 0.99]
        (tmp_path / "plan.json").write_text(json.dumps(resolved.as_dict()))
        assert read_plan(tmp_path / "plan.json") == resolved

    def test_relative_paths_start_at_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SOMEWHERE", "/far")
        given = small(pool="pool/*.jsonl", targets={"math": "../math.jsonl", "far": "$SOMEWHERE/x"})
        (tmp_path / "inner").mkdir()
        (tmp_path / "inner" / "plan.yaml").write_text(
            yaml.safe_dump({**given, "right": {}}, sort_keys=False)
        )
        read = read_plan(tmp_path / "inner" / "plan.yaml")
        assert read.pool == (str(tmp_path / "inner" / "pool" / "*.jsonl"),)
        assert read.targets["math"].examples == (str(tmp_path / "math.jsonl"),)
        assert read.targets["far"].examples == ("/far/x",)

    def test_models_of_steps_are_found_from_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As all paths; a name that is no folder there is left to be one of Hugging Face."""
        monkeypatch.setenv("SOMEWHERE", "/far")
        (tmp_path / "proxies" / "seed-0").mkdir(parents=True)
        steps = ["el2n(models=[proxies/seed-0, $SOMEWHERE/x, org/name])"]
        content = yaml.safe_dump(small(selections={"hard": {"steps": steps}}), sort_keys=False)
        (tmp_path / "plan.yaml").write_text(content)
        (step,) = read_plan(tmp_path / "plan.yaml").candidate("hard").steps
        here = str(tmp_path / "proxies" / "seed-0")
        assert step.models == (here, "/far/x", "org/name")  # type: ignore[attr-defined]

    def test_kept_models_are_a_label(self) -> None:
        read = read_plan(small(keep_models=True))
        assert read_plan(read.as_dict()) == read and read.keep_models
        assert unlabelled(read.as_dict()) == unlabelled(read_plan(small()).as_dict())
        with pytest.raises(ConfigError, match="keep_models is true or false"):
            read_plan(small(keep_models="yes"))

    def test_the_baseline_is_always_there(self) -> None:
        assert [item.name for item in read_plan(small()).candidates] == [
            "random",
            "sampled",
            "best",
        ]
        own = read_plan(small(baseline="best"))
        assert [item.name for item in own.candidates] == ["sampled", "best"]

    def test_fields_of_quotas_and_right_values_are_grouped_by(self) -> None:
        read = read_plan(
            small(group_by=None, selections={"x": {"steps": "dsir", "quotas": "lang:5%"}})
        )
        assert read.fields.groups == ("domain", "lang")

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"pool": None}, "has no pool"),
            ({"selections": {}}, "has no selections"),
            ({"sedes": 3}, "did you mean 'seeds'"),
            ({"selections": {"x": {}}}, "x: says nothing"),
            ({"selections": {"x": {"step": ["dsir"]}}}, "did you mean 'steps'"),
            ({"selections": {"x": {"steps": ["nothing"]}}}, "there is no 'nothing'"),
            ({"selections": {"x": {"from": "y", "steps": ["dsir"]}}}, "no other options"),
            ({"selections": {"x": {"from": "y", "bound": "yes"}}}, "bound is true or false"),
            ({"selections": {"random": {"mechanism": "random", "bound": True}}}, "is a bound"),
            ({"selections": {"a/b": {"steps": ["dsir"]}}}, "signs of paths"),
            ({"targets": {"a": {"validation": "x"}}}, "a: has no examples"),
            ({"targets": {"a": "x"}, "holdout": 0, "right": {}}, "nothing to validate on"),
            ({"budget": {"red": "1k"}}, "'blue'"),
            ({"budget": "many"}, "cannot read the budget"),
            ({"seeds": 0}, "seeds"),
            ({"seeds": [1, 1]}, "seeds"),
            ({"tokens": "10%"}, "tokens"),
            ({"sizes": [{"hidden": 8}]}, "wants a name"),
            ({"sizes": ["tiny", "tiny"]}, "name of its own"),
            ({"baseline": "nobody"}, "there is no selection 'nobody'"),
            ({"right": {"domain": {"green": ["x"]}}}, "there is no target 'green'"),
            ({"pool": "$NOT_SET_ANYWHERE/x"}, "the environment has no $NOT_SET_ANYWHERE"),
            ({"minutes": -1}, "minutes"),
            ({"vocabulary": "big"}, "vocabulary"),
        ],
    )
    def test_wrong_plans(self, changes: dict[str, Any], said: str) -> None:
        with pytest.raises(ConfigError) as error:
            read_plan(small(**changes))
        assert said in str(error.value)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"sizes": ["huge"]}, "there is no such size"),
            ({"sizes": [{"name": "x", "hidden": 8, "heads": 1}]}, "missing"),
            ({"training": {"speed": 1}}, "no option 'speed'"),
            ({"sizes": [{"name": "x", "model": "there", "hidden": 8}]}, "has no hidden"),
        ],
    )
    def test_wrong_models(self, changes: dict[str, Any], said: str) -> None:
        with pytest.raises(ConfigError) as error:
            resolve(read_plan(small(**changes)))
        assert said in str(error.value)

    def test_a_file_that_is_no_plan(self, tmp_path: Path) -> None:
        path = tmp_path / "plan.yaml"
        for text, said in (("a: [", "line"), ("- 1", "a line for each key")):
            path.write_text(text)
            with pytest.raises(ConfigError, match=said):
                read_plan(path)
        with pytest.raises(ConfigError, match="cannot be read"):
            read_plan(tmp_path / "nothing.yaml")


COSTS = {
    "little": Cost(1e-4, 10.0, {"": 0.5, "red": 1.0, "blue": 1.0}),
    "big": Cost(1e-3, 20.0, {"": 2.0, "red": 2.0, "blue": 2.0}),
}


class TestMinutes:
    def chosens(self, seeds: int) -> list[Chosen]:
        found = []
        for seed in range(seeds):
            found.append(Chosen("random", None, seed, f"r{seed}", 1, 1))
            found += [Chosen("x", t, seed, f"x{t}{seed}", 1, 1) for t in ("red", "blue")]
        return found

    def plan(self) -> Any:
        read = read_plan(small(seeds=5, tokens=["100k", "200k"]))
        return replace(read, sizes=(SizePlan("little"), SizePlan("big")))

    def test_the_time_is_the_sum_of_all_trainings(self) -> None:
        plan = replace(self.plan(), seeds=(0, 1), sizes=(SizePlan("little"),))
        # Two seeds, two numbers of tokens; random is measured on both targets, the others on one.
        each = 2 * 3 * (100_000 + 200_000) * 1e-4 + 2 * 2 * (2.5 + 1.5 + 1.5)
        expected = 1.15 * (each + 10.0 * 2) / 2
        assert seconds_for(plan, self.chosens(2), COSTS, 2) == pytest.approx(expected)

    def test_what_costs_most_and_matters_least_goes_first(self) -> None:
        plan, chosens = self.plan(), self.chosens(5)
        whole = seconds_for(plan, chosens, COSTS, 1)
        assert fit(plan, chosens, COSTS, 1, whole + 1) == (plan, [])
        fitted, gave_up = fit(plan, chosens, COSTS, 1, whole * 0.9)
        assert [size.name for size in fitted.sizes] == ["little"]
        assert gave_up == ["size big"]
        fitted, gave_up = fit(plan, chosens, COSTS, 1, 500)
        assert fitted.seeds == (0, 1, 2, 3) and gave_up == ["size big", "seed 4"]
        fitted, gave_up = fit(plan, chosens, COSTS, 1, 200)
        assert fitted.seeds == (0, 1, 2) and fitted.tokens == (100_000,)
        assert gave_up == ["size big", "seeds 3, 4", "200,000 tokens"]
        fitted, gave_up = fit(plan, chosens, COSTS, 1, 100)
        assert 20_000 <= fitted.tokens[0] < 100_000
        assert seconds_for(fitted, chosens, COSTS, 1) <= 100
        fitted, gave_up = fit(plan, chosens, COSTS, 1, 1)
        assert fitted.tokens == (20_000,) and "minutes" in gave_up[-1]


def test_outline_counts_without_reading() -> None:
    facts = outline(small(seeds=3, tokens=[1000, 2000]))
    # random once, two methods for two targets each.
    assert facts["choices"] == 5 * 3
    assert facts["trainings"] == 5 * 3 * 2
    assert facts["tokens"] == 5 * 3 * 3000
    assert facts["passes"] == 1
