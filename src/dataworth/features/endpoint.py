"""Language models behind an endpoint that speaks OpenAI's protocol, asked within a budget.

    judge = Endpoint(judge="qwen", url="http://localhost:8000/v1", key_variable="")
    (answers,) = judge.ask("demo", ["Is 7 a prime? Say yes or no."], None, tokens=1)
    answers[0].chances("yes", "no")               # [0.98, 0.02], or None

Answers are kept by what was asked (model, prompt, fields of the request), so that a run that was
killed asks nothing twice. Keys are read from the environment and written nowhere.
"""

from __future__ import annotations

import logging
import os
import random
import re
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dataworth.errors import ConfigError, DataworthError, check_extra
from dataworth.features.answers import (
    Answer,
    Answers,
    answer_of,
    question_key,
    read_completion,
)
from dataworth.options import name_of, option

log = logging.getLogger("dataworth")

TOPS = 20
"""Log-probabilities that are asked for, the most that the protocol allows."""
_FRAME = 64  # tokens that a chat template puts around a prompt, at most
_BYTES_PER_TOKEN = 4
_LONGEST = 600.0  # seconds that a server may ask to wait
_FILTERED = ("content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation")
_LATER = (408, 409, 425, 429)


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A language model at an OpenAI-compatible endpoint, and what may be spent on it."""

    judge: str = option("", help="Name of the language model at the endpoint.")
    url: str = option(
        "https://api.openai.com/v1",
        help="The endpoint, up to /chat/completions: of a provider, or of vLLM, llama.cpp and "
        "others on a machine of yours.",
        run_only=True,
    )
    key_variable: str = option(
        "OPENAI_API_KEY",
        help="Environment variable that holds the key; empty for an endpoint without keys.",
        run_only=True,
    )
    request: Mapping[str, Any] = option(
        factory=dict,
        hash=False,
        help="Further fields of each request, such as {reasoning_effort: none}; null leaves a "
        "field out.",
    )
    workers: int = option(8, help="Requests that are under way at once.", minimum=1, run_only=True)
    per_minute: float = option(
        0, help="Requests per minute, at most; 0: no limit.", minimum=0, run_only=True
    )
    retries: int = option(
        6,
        help="Further tries of a request that fails for a reason that may pass (429, 5xx, a slow "
        "or broken answer), with waits of 1, 2, 4, … seconds or as the server asks.",
        minimum=0,
        run_only=True,
    )
    timeout: float = option(
        120.0, help="Seconds to wait for an answer before another try.", above=0, run_only=True
    )
    max_calls: int = option(
        0,
        help="Requests that the step may cost, failed ones and those of a killed run's answers "
        "included; 0: no limit.",
        minimum=0,
        run_only=True,
    )
    max_cost: float = option(
        0,
        help="Money that the step may cost, in the currency of the prices; 0: no limit.",
        minimum=0,
        run_only=True,
    )
    price_in: float = option(
        0, help="Price of a million tokens of the prompts.", minimum=0, run_only=True
    )
    price_out: float = option(
        0, help="Price of a million tokens of the answers.", minimum=0, run_only=True
    )

    def __post_init__(self) -> None:
        """Raise ConfigError for no model, a URL that may hold a secret, a budget without prices."""
        name = name_of(type(self))
        if not self.judge:
            raise ConfigError(f"{name}: needs the model's name at the endpoint: judge=NAME")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{name}: url must be http://… or https://…, up to /chat/completions")
        if parts.query or parts.username or parts.password:
            raise ConfigError(
                f"{name}: url must hold no key, password or query, since it is recorded; put the "
                "key into the environment and name its variable (key_variable)"
            )
        if not re.fullmatch(r"([A-Z_][A-Z0-9_]*)?", self.key_variable):
            raise ConfigError(
                f"{name}: key_variable must be the name of an environment variable, in capitals; "
                "never the key itself"
            )
        if self.max_cost and not (self.price_in or self.price_out):
            raise ConfigError(f"{name}: max_cost needs price_in and price_out")

    def check(self) -> None:
        """Raise MissingExtra without the extra judge, ConfigError without a usable key."""
        check_extra(name_of(type(self)), "judge")
        self.key()

    def key(self) -> str:
        """Return the key, empty for none. ConfigError for an unusable one."""
        if not self.key_variable:
            return ""
        key = os.environ.get(self.key_variable, "").strip()
        if not key or not (key.isascii() and key.isprintable()):
            problem = "holds characters that no key has" if key else "is not set"
            raise ConfigError(
                f"{name_of(type(self))}: the environment variable {self.key_variable} {problem}; "
                'put the key there, or say key_variable="" for an endpoint without keys'
            )
        return key

    def price(self, asked: float, said: float) -> float:
        """Return what some tokens of prompts and of answers cost."""
        return (asked * self.price_in + said * self.price_out) / 1e6

    def ask(
        self,
        name: str,
        prompts: Sequence[str],
        folder: Path | None,
        *,
        tokens: int,
        votes: int = 0,
        tops: int = TOPS,
        dry: bool = False,
    ) -> list[list[Answer]]:
        """Return the answers to some prompts, each asked once or `votes` times.

        Parameters
        ----------
        name : of the step: for messages and for the file of answers.
        folder : the run's folder, which keeps answers in `answers/<name>.jsonl`; None: none.
        tokens : of an answer, at most.
        votes : answers that are sampled of each prompt at temperature 1; 0: one at temperature 0.
        tops : log-probabilities that are asked for at the first token; 0: none.
        dry : tell what it would cost and ask nothing; there are no answers then.

        Raises
        ------
        DataworthError : the budget is spent, or the endpoint cannot be asked. What was answered
            by then is kept, and the same command goes on from there.
        """
        asking = _Asking(self, name, folder)
        questions = []
        for prompt in prompts:
            for vote in range(max(votes, 1)):
                body: dict[str, Any] = {
                    "model": self.judge,
                    "messages": [{"role": "user", "content": prompt}],
                    "max_tokens": tokens,
                    "temperature": 1.0 if votes else 0.0,
                }
                body |= {"seed": vote} if votes else {}
                body |= {"logprobs": True, "top_logprobs": tops} if tops and not votes else {}
                merged = {**body, **self.request}
                questions.append(({k: v for k, v in merged.items() if v is not None}, vote))
        answers = asking.all(questions, tokens, dry)
        each = max(votes, 1)
        return [answers[start : start + each] for start in range(0, len(answers), each)]


class _Asking:
    """One call of `Endpoint.ask`: what it has spent, when it may go on, and what is known."""

    def __init__(self, endpoint: Endpoint, name: str, folder: Path | None) -> None:
        check_extra(name, "judge")
        self.endpoint, self.name = endpoint, name
        self.answers = Answers(None if folder is None else folder / "answers" / f"{name}.jsonl")
        self.lock, self.halt = threading.Lock(), threading.Event()
        self.error: DataworthError | None = None
        self.calls, self.cost = 0, 0.0
        self.next = 0.0  # the clock's time at which the next request may start
        self.client: Any = None

    def all(
        self, questions: Sequence[tuple[dict[str, Any], int]], tokens: int, dry: bool
    ) -> list[Answer]:
        """Return the answers in order, those that are missing asked for now; none where `dry`."""
        keys = [question_key(list(question)) for question in questions]
        answers: dict[str, Answer] = {}
        missing: dict[str, dict[str, Any]] = {}
        for key, (body, _) in zip(keys, questions, strict=True):
            record = self.answers.get(key)
            answer = answer_of(record)
            if record is None or answer is None:
                missing[key] = body
            elif key not in answers:
                answers[key] = answer
                self.calls += int(record["calls"])
                self.cost += self.endpoint.price(*record["tokens"])
        if missing:
            self._estimate(len(answers), missing, tokens)
        if dry:
            return []
        if missing:
            answers |= self._run(missing, tokens)
        return [answers[key] for key in keys]

    def _estimate(self, known: int, missing: Mapping[str, Any], tokens: int) -> None:
        """Log what is to come. ConfigError where the calls that are allowed cannot be enough."""
        one, needed = self.endpoint, self.calls + len(missing)
        asked = sum(map(_size, missing.values())) / _BYTES_PER_TOKEN
        cost = self.cost + one.price(asked, tokens * len(missing))
        minutes = len(missing) / one.per_minute if one.per_minute else 0
        log.info(
            "%s: %s requests to %s%s, about %s tokens of prompts and at most %s of answers%s%s",
            self.name,
            f"{len(missing):,}",
            one.judge,
            f" ({known:,} are answered already)" if known else "",
            f"{asked:,.0f}",
            f"{tokens * len(missing):,}",
            f", {minutes:,.0f} min or more" if minutes else "",
            f", about {cost:,.4g} in the currency of the prices" if cost else "",
        )
        if one.max_calls and needed > one.max_calls:
            raise ConfigError(
                f"{self.name}: needs {needed:,} requests, and max_calls={one.max_calls:,} allows "
                "fewer; nothing was asked: allow more, or let the step ask about fewer documents"
            )

    def _run(self, missing: Mapping[str, dict[str, Any]], tokens: int) -> dict[str, Answer]:
        import httpx

        one = self.endpoint
        key = one.key()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limits = httpx.Limits(max_connections=one.workers)
        secure = urlsplit(one.url).scheme == "https"  # else certificates are not read at all
        self.client = httpx.Client(
            headers=headers, timeout=one.timeout, limits=limits, verify=secure
        )
        with self.client, ThreadPoolExecutor(one.workers) as pool:
            try:
                futures = [pool.submit(self._one, *item, tokens) for item in missing.items()]
                return dict(future.result() for future in as_completed(futures))
            finally:  # nothing is left to do, or it is not to be done
                self.halt.set()
                pool.shutdown(cancel_futures=True)

    def _one(self, key: str, body: dict[str, Any], tokens: int) -> tuple[str, Answer]:
        """Ask one question until it is answered, and keep the answer."""
        try:
            return self._tries(key, body, tokens)
        except DataworthError as error:
            self.error = self.error or error
            self.halt.set()
            raise self.error from None

    def _tries(self, key: str, body: dict[str, Any], tokens: int) -> tuple[str, Answer]:
        one, wait, most = self.endpoint, 0.0, (_size(body) + _FRAME, tokens)
        for tried in range(one.retries + 1):
            self._pass(wait, one.price(*most))
            record, status, text, asked = self._post(body)
            if record is not None and not any(record["tokens"]) and status == 200:
                record["tokens"] = list(most)  # it does not say: no token is less than a byte
            used = most if record is None else record["tokens"]
            cost = 0.0 if status >= 400 else one.price(*used)
            with self.lock:
                self.cost += cost - one.price(*most)
            if record is not None:
                self.answers.keep(key, {**record, "calls": tried + 1})
                return key, Answer(record["text"], record["first"])
            if 200 < status < 500 and status not in _LATER:
                raise self._refusal(status, text)
            wait = _seconds(asked, min(60.0, 2.0**tried) * random.uniform(0.75, 1.25))
            if wait > _LONGEST:
                text += f", and asks to wait {wait:,.0f} s"
                break
            if status == 429 or asked:
                with self.lock:  # the others wait as well
                    self.next = max(self.next, time.monotonic() + wait)
        raise DataworthError(
            f"{self.name}: {one.url} gives no answer after {tried + 1} tries ({text}); what was "
            "answered is kept: run the same command again when it does, with fewer workers or a "
            "limit per_minute if it was overrun"
        )

    def _post(self, body: dict[str, Any]) -> tuple[dict[str, Any] | None, int, str, str]:
        """Send a request: (what is kept of its answer, status, what is wrong, Retry-After)."""
        import httpx

        try:
            response = self.client.post(
                f"{self.endpoint.url.rstrip('/')}/chat/completions", json=body
            )
        except httpx.RequestError as error:
            return None, 0, type(error).__name__, ""
        status, asked = response.status_code, response.headers.get("retry-after", "")
        if status == 200:
            return read_completion(response), status, "an answer that is not of the protocol", asked
        if status == 400 and any(word in response.text for word in _FILTERED):
            return {"text": "", "first": {}, "tokens": [0, 0]}, status, "", asked
        return None, status, response.text if 200 < status < 500 else f"HTTP {status}", asked

    def _pass(self, wait: float, most: float) -> None:
        """Wait for a request's turn, and take what it may cost from the budget."""
        one = self.endpoint
        if wait:
            self._sleep(wait)
        with self.lock:
            if self.halt.is_set():
                raise self.error or DataworthError(f"{self.name}: stopped")
            over = ""
            if one.max_calls and self.calls + 1 > one.max_calls:
                over = f"max_calls={one.max_calls:,}"
            elif one.max_cost and self.cost + most > one.max_cost:
                over = f"max_cost={one.max_cost:g}"
            if over:
                raise DataworthError(
                    f"{self.name}: one more request may exceed {over} ({self.calls:,} requests, "
                    f"at most {self.cost:.4g} spent); what was answered is kept: allow more and "
                    "run the same command again"
                )
            self.calls += 1
            self.cost += most
            start = max(self.next, time.monotonic())
            self.next = start + (60.0 / one.per_minute if one.per_minute else 0.0)
        if start > time.monotonic():
            self._sleep(start - time.monotonic())

    def _sleep(self, seconds: float) -> None:
        self.halt.wait(seconds)

    def _refusal(self, status: int, text: str) -> DataworthError:
        """Return the error for a request that no further try will help."""
        one = self.endpoint
        if status in (401, 403):  # a body might repeat the key
            return ConfigError(
                f"{self.name}: {one.url} refuses the key (HTTP {status}); look at the environment "
                f"variable {one.key_variable or 'that key_variable should name'}"
            )
        key = one.key()
        said = " ".join((text.replace(key, "…") if key else text).split())[:200]
        return ConfigError(
            f"{self.name}: {one.url} refuses the request (HTTP {status}): {said!r}; look at "
            "url and judge, and leave out fields that it does not know: request={FIELD: null}"
        )


def _size(body: Mapping[str, Any]) -> int:
    """Return the bytes of a request's prompt."""
    return sum(len(turn["content"].encode("utf-8", "replace")) for turn in body["messages"])


def _seconds(text: str, otherwise: float) -> float:
    """Return the seconds that a Retry-After asks to wait: a number, or a date."""
    try:
        return max(float(text), 0.0)
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError):
        return otherwise
