import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dataworth.errors import ConfigError, DataworthError, MissingExtra
from dataworth.features import endpoint
from dataworth.features.answers import Answer
from dataworth.features.endpoint import Endpoint
from judge_server import CUT, WAIT, JudgeServer, Reply, completion, judge_server, prompt_of

YES = completion("yes", {"yes": 0.8, "no": 0.1})
SECRET = "sk-very-secret-0123"


class Clock:
    """A clock that goes on when somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.slept = 1000.0, list[float]()
        known = SimpleNamespace(monotonic=lambda: self.now, time=time.time)
        monkeypatch.setattr(endpoint, "time", known)
        monkeypatch.setattr(endpoint._Asking, "_sleep", lambda asking, s: self.sleep(s))

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with judge_server() as judge:
        yield judge


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def model(server: JudgeServer, **options: Any) -> Endpoint:
    return Endpoint(
        **{"judge": "m", "url": server.url, "key_variable": "", "workers": 1, **options}
    )


def ask(one: Endpoint, prompts: list[str], folder: Path | None = None, **more: Any) -> list[Answer]:
    return [answers[0] for answers in one.ask("demo", prompts, folder, **{"tokens": 1, **more})]


def test_an_answer_and_its_log_probabilities(server: JudgeServer) -> None:
    server.plan(YES)
    (answer,) = ask(model(server, request={"temperature": None, "top_p": 0.5}), ["Is it?"])
    assert answer.text == "yes"
    assert answer.chances("yes", "no") == pytest.approx([8 / 9, 1 / 9])
    assert server.requests == [
        {
            "model": "m",
            "messages": [{"role": "user", "content": "Is it?"}],
            "max_tokens": 1,
            "top_p": 0.5,
            "logprobs": True,
            "top_logprobs": 20,
        }
    ]


def test_chances() -> None:
    both = Answer("Yes", {" Yes": np.log(0.3), "yes": np.log(0.3), "No": np.log(0.2)})
    assert both.chances("yes", "no") == pytest.approx([0.75, 0.25])
    assert Answer("B.").chances("A", "B") == pytest.approx([0, 1])
    assert Answer("**B**", {"**": 0.0}).chances("A", "B") == pytest.approx([0, 1])
    for text in ("", "I cannot say", "?"):
        assert Answer(text, {"I": -0.1}).chances("A", "B") is None


def test_votes_are_samples_of_one_prompt(server: JudgeServer) -> None:
    server.plan(completion("A"), completion("B"), completion("B"))
    (answers,) = model(server).ask("demo", ["which"], None, tokens=1, votes=3)
    assert [answer.text for answer in answers] == ["A", "B", "B"]
    assert [body["temperature"] for body in server.requests] == [1.0] * 3
    assert len({body["seed"] for body in server.requests}) == 3
    assert not any("logprobs" in body for body in server.requests)


@pytest.mark.parametrize(
    "fault",
    [
        Reply(b"busy", 429),
        Reply(b"no", 500),
        Reply(b"<html>", 200),
        Reply(b"{}", 200),
        Reply(b'{"error": "overloaded"}', 200),
        Reply(YES.body, 200, fault=CUT),
        Reply(b"", 502),
    ],
)
def test_a_fault_that_passes_is_tried_again(
    fault: Reply, server: JudgeServer, clock: Clock
) -> None:
    server.plan(fault, fault, YES)
    (answer,) = ask(model(server), ["x"])
    assert answer.text == "yes"
    assert len(server.requests) == 3
    assert clock.now - 1000 == pytest.approx(3, rel=0.3)  # 1 s, then 2 s


def test_a_slow_answer_is_given_up(server: JudgeServer, clock: Clock) -> None:
    server.plan(Reply(fault=WAIT), YES)
    (answer,) = ask(model(server, timeout=0.1), ["x"])
    assert answer.text == "yes" and len(server.requests) == 2


@pytest.mark.parametrize("wait", ["17", "date", "soon"])
def test_the_server_says_how_long_to_wait(wait: str, server: JudgeServer, clock: Clock) -> None:
    shown = formatdate(time.time() + 17.9, usegmt=True) if wait == "date" else wait
    server.plan(Reply(b"", 429, {"Retry-After": shown}), YES)
    ask(model(server), ["x"])
    (slept,) = clock.slept
    assert slept == pytest.approx(1.0 if wait == "soon" else 17, rel=0.3, abs=1.5)


def test_all_workers_wait_when_one_is_told_to(server: JudgeServer, clock: Clock) -> None:
    server.plan(Reply(b"", 429, {"Retry-After": "50"}), YES)
    ask(model(server, workers=3), ["a", "b", "c"])
    assert len(server.requests) == 4
    assert clock.now >= 1050


def test_it_ends_when_nothing_helps(server: JudgeServer, clock: Clock) -> None:
    server.plan(Reply(b"no", 503))
    with pytest.raises(DataworthError, match=r"no answer after 3 tries \(HTTP 503\)"):
        ask(model(server, retries=2), ["x"])
    server.plan(Reply(b"", 429, {"Retry-After": "86400"}))
    with pytest.raises(DataworthError, match="asks to wait 86,400 s"):
        ask(model(server), ["x"])
    assert clock.now < 1010
    closed = Endpoint(judge="m", url="http://127.0.0.1:9/v1", key_variable="", retries=1)
    with pytest.raises(DataworthError, match="2 tries"):
        ask(closed, ["x"])


def test_requests_per_minute(server: JudgeServer, clock: Clock) -> None:
    server.plan(YES)
    ask(model(server, per_minute=30), [str(n) for n in range(5)])
    assert clock.now - 1000 == pytest.approx(4 * 2)


def test_refusals_are_answers_without_text(server: JudgeServer) -> None:
    server.plan(
        completion(None, refusal="I cannot"),
        completion(None),
        Reply(b'{"error": {"code": "content_filter"}}', 400),
        YES,
    )
    answers = ask(model(server), ["a", "b", "c", "d"])
    assert [answer.text for answer in answers] == ["", "", "", "yes"]
    assert len(server.requests) == 4


@pytest.mark.parametrize(("status", "text"), [(401, "refuses the key"), (400, "bad model …")])
def test_what_no_try_helps_ends_at_once(
    status: int, text: str, server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", SECRET)
    server.plan(Reply(f"bad model {SECRET}".encode(), status))
    with pytest.raises(ConfigError, match=text) as error:
        ask(model(server, key_variable="JUDGE_KEY"), ["x", "y"])
    assert len(server.requests) == 1
    assert SECRET not in str(error.value)


def test_the_key_is_sent_and_written_nowhere(
    server: JudgeServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("JUDGE_KEY", f"{SECRET}\n")
    server.plan(YES)
    one = model(server, key_variable="JUDGE_KEY")
    one.check()
    ask(one, ["x"], tmp_path)
    assert server.headers[0]["authorization"] == f"Bearer {SECRET}"
    written = "".join(path.read_text() for path in tmp_path.rglob("*.jsonl"))
    assert written
    assert SECRET not in written + caplog.text + repr(one)
    assert "authorization" not in caplog.text.lower()


def test_what_was_answered_is_not_asked_again(server: JudgeServer, tmp_path: Path) -> None:
    server.answer = lambda body: completion(prompt_of(body).upper())
    assert [a.text for a in ask(model(server), ["a", "b", "a"], tmp_path)] == ["A", "B", "A"]
    assert server.prompts == ["a", "b"]
    again = ask(model(server, workers=4, retries=1), ["b", "c", "a"], tmp_path)
    assert [answer.text for answer in again] == ["B", "C", "A"]
    assert server.prompts == ["a", "b", "c"]
    ask(model(server, judge="other"), ["a"], tmp_path)
    ask(model(server, request={"top_p": 0.1}), ["a"], tmp_path)
    assert server.prompts == ["a", "b", "c", "a", "a"]


@pytest.mark.parametrize("damage", [-1, -9, "{}\n", "\x00\xff", '{"key": "k", "first": 3}\n'])
def test_a_cut_or_damaged_line_is_no_answer(
    damage: int | str, server: JudgeServer, tmp_path: Path
) -> None:
    ask(model(server), ["a", "b"], tmp_path)
    (path,) = tmp_path.rglob("*.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole[:damage] if isinstance(damage, int) else whole + damage.encode())
    ask(model(server), ["a", "b", "c"], tmp_path)
    count = len(server.requests)
    assert count == (4 if damage == -9 else 3)
    ask(model(server), ["a", "b", "c"], tmp_path)
    assert len(server.requests) == count


KILLED = """
import sys
from pathlib import Path
from dataworth.features.endpoint import Endpoint
one = Endpoint(judge="m", url=sys.argv[1], key_variable="", workers=1)
one.ask("demo", [str(n) for n in range(20)], Path(sys.argv[2]), tokens=1)
"""


def test_a_killed_run_asks_nothing_twice(server: JudgeServer, tmp_path: Path) -> None:
    child: list[subprocess.Popen[bytes]] = []

    def answer(body: dict[str, Any]) -> Reply:
        if prompt_of(body) == "12" and len(server.requests) <= 13:
            os.kill(child[0].pid, signal.SIGKILL)
        return YES

    server.answer = answer
    child.append(subprocess.Popen([sys.executable, "-c", KILLED, server.url, str(tmp_path)]))
    assert child[0].wait(60) == -signal.SIGKILL
    ask(model(server), [str(n) for n in range(20)], tmp_path)
    counts = Counter(server.prompts)
    assert counts.pop("12") == 2  # its answer never came
    assert set(counts.values()) == {1} and len(counts) == 19


def test_calls_end_before_there_are_too_many(
    server: JudgeServer, tmp_path: Path, clock: Clock
) -> None:
    with pytest.raises(ConfigError, match="needs 5 requests, and max_calls=4 allows fewer"):
        ask(model(server, max_calls=4), list("abcde"), tmp_path)
    assert not server.requests
    server.plan(YES, Reply(b"", 500), YES)
    with pytest.raises(DataworthError, match="may exceed max_calls=5"):
        ask(model(server, max_calls=5), list("abcde"), tmp_path)
    assert len(server.requests) == 5
    ask(model(server, max_calls=6), list("abcde"), tmp_path)  # the failed one counts
    assert len(server.requests) == 6


@pytest.mark.parametrize("workers", [1, 4])
def test_money_ends_before_it_is_spent(server: JudgeServer, tmp_path: Path, workers: int) -> None:
    """An answer costs 100 tokens in and 2 out: 120 millionths."""
    server.plan(YES)
    prices = {"price_in": 1.0, "price_out": 10.0, "workers": workers}
    prompts = [f"{n:040}" for n in range(50)]
    with pytest.raises(DataworthError, match=r"may exceed max_cost=0\.001"):
        ask(model(server, max_cost=0.001, **prices), prompts, tmp_path)
    first = len(server.requests)
    assert 4 <= first <= 8
    with pytest.raises(DataworthError, match="run the same command again"):
        ask(model(server, max_cost=0.001, **prices), prompts, tmp_path)
    assert first <= len(server.requests) <= 8
    ask(model(server, max_cost=0.01, **prices), prompts, tmp_path)
    assert len(server.requests) == 50


def test_answers_without_usage_count_as_the_most(server: JudgeServer, tmp_path: Path) -> None:
    server.plan(completion("yes", usage=False))
    one = model(server, max_cost=10.5 * 105 / 1e6, price_in=1.0)
    with pytest.raises(DataworthError, match="max_cost"):
        ask(one, [f"{n:041}" for n in range(20)], tmp_path)
    assert len(server.requests) == 10


def test_the_estimate_comes_first(server: JudgeServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dataworth")
    server.answer = lambda body: pytest.fail("asked") if not caplog.records else YES
    ask(model(server, price_in=2.0, price_out=4.0), ["x" * 4000] * 2 + ["y" * 4000], tokens=500)
    assert (
        "demo: 2 requests to m, about 2,000 tokens of prompts and at most 1,000 of answers, about "
        "0.008 in the currency of the prices" in caplog.messages
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"judge": ""}, "judge=NAME"),
        ({"url": "api.openai.com/v1"}, "url must be http"),
        ({"url": f"https://me:{SECRET}@host/v1"}, "url must hold no key"),
        ({"url": f"https://host/v1?key={SECRET}"}, "url must hold no key"),
        ({"key_variable": SECRET}, "never the key itself"),
        ({"max_cost": 1.0}, "price_in and price_out"),
    ],
)
def test_bad_options(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text) as error:
        Endpoint(**{"judge": "m", **options})
    assert SECRET not in str(error.value)


def test_a_missing_or_broken_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    one = Endpoint(judge="m", key_variable="JUDGE_KEY")
    with pytest.raises(ConfigError, match="JUDGE_KEY is not set"):
        one.check()
    monkeypatch.setenv("JUDGE_KEY", "sk-\n1")
    with pytest.raises(ConfigError, match="characters that no key has") as error:
        one.check()
    assert "sk-" not in str(error.value)


def test_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataworth.errors.find_spec", lambda module: None)
    with pytest.raises(MissingExtra, match="judge"):
        Endpoint(judge="m", key_variable="").check()
