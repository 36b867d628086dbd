"""An endpoint of OpenAI's protocol on this machine, whose judgements and faults are planned."""

from __future__ import annotations

import contextlib
import json
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WAIT, CUT = "wait", "cut"


@dataclass(frozen=True)
class Reply:
    """`fault`: WAIT gives no answer until the server closes, CUT half of it."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    fault: str = ""


def completion(
    text: str | None, first: dict[str, float] | None = None, usage: bool = True, **message: Any
) -> Reply:
    """A chat completion; `first`: probabilities of tokens at the first place."""
    choice: dict[str, Any] = {"message": {"role": "assistant", "content": text, **message}}
    if first is not None:
        tops = [{"token": token, "logprob": math.log(p)} for token, p in first.items()]
        choice["logprobs"] = {"content": [{"token": text, "top_logprobs": tops}]}
    body = {"choices": [choice]}
    if usage:
        body["usage"] = {"prompt_tokens": 100, "completion_tokens": 2}
    return Reply(json.dumps(body).encode())


def prompt_of(body: dict[str, Any]) -> str:
    """The prompt of a request."""
    prompt: str = body["messages"][0]["content"]
    return prompt


@dataclass
class JudgeServer:
    """`requests`, `headers`: of all that was asked, in order."""

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answer: Callable[[dict[str, Any]], Reply] = lambda body: completion("yes")

    @property
    def prompts(self) -> list[str]:
        """The prompts of all requests."""
        return [prompt_of(body) for body in self.requests]

    def plan(self, *replies: Reply) -> None:
        """Answer the next requests so, and all after them with the last."""
        queue = list(replies)
        self.answer = lambda body: queue.pop(0) if len(queue) > 1 else queue[0]


@contextlib.contextmanager
def judge_server() -> Iterator[JudgeServer]:
    """A server in a thread, closed at the end of the block."""
    closing, lock = threading.Event(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                judge.requests.append(body)
                judge.headers.append({k.lower(): v for k, v in self.headers.items()})
                reply = (
                    judge.answer(body)
                    if self.path == "/v1/chat/completions"
                    else Reply(b'{"error": "no such path"}', 404)
                )
            if reply.fault == WAIT:
                closing.wait(30)
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            half = len(reply.body) // 2
            self.wfile.write(reply.body[:half] if reply.fault == CUT else reply.body)
            self.close_connection = self.close_connection or reply.fault == CUT

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    judge = JudgeServer(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield judge
    finally:
        closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def preferring(worth: Callable[[str], float], bias: float = 0.0) -> Callable[..., Reply]:
    """A judge of pairs: log-odds of the second text are its worth less the first's, and `bias`."""

    def answer(body: dict[str, Any]) -> Reply:
        left, right = texts_of(prompt_of(body))
        odds = worth(right) - worth(left) + bias
        chance = min(max(1 / (1 + math.exp(-odds)), 1e-6), 1 - 1e-6)
        text = "B" if chance > 0.5 else "A"
        return completion(text, {"A": 0.9 * (1 - chance), " B": 0.9 * chance, "The": 0.1})

    return answer


def texts_of(prompt: str) -> Sequence[str]:
    """The texts that stand between marks in a prompt."""
    marked = prompt.split("\n<<<\n")[1:]
    return [part.split("\n>>>\n")[0] for part in marked]


def worth_of(text: str) -> float:
    """What the planted judge thinks a text is worth: more for longer words."""
    words = text.split()
    return min(max(2.0 * (sum(map(len, words)) / max(len(words), 1) - 4.0), -6.0), 6.0)


def planted(body: dict[str, Any]) -> Reply:
    """The answer of the planted judge to a pair, or to a text that is to be rated."""
    texts = texts_of(prompt_of(body))
    if len(texts) == 2:
        return preferring(worth_of, bias=0.5)(body)
    chance = 1 / (1 + math.exp(-worth_of(texts[0])))
    text = f"Because.\nScore: {5 * chance:.1f}" if "Score" in prompt_of(body) else "yes"
    return completion(text, {" Yes": 0.9 * chance, "no": 0.9 * (1 - chance)})


_open = contextlib.ExitStack()


@cache
def standing() -> dict[str, Any]:
    """Options of a step that asks the planted judge, which answers as long as the tests run."""
    judge = _open.enter_context(judge_server())
    judge.answer = planted
    return {"judge": "planted", "url": judge.url, "key_variable": ""}
