"""Clients that stream answers, and keep account of what they got."""

import json
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from threading import Event, Lock, Thread
from typing import Any

from tests.e2e.pod import HOST, KEY


@dataclass(frozen=True)
class Order:
    """What each client asks for.

    Args:
        port: Port of the server.
        model: Name of the model.
        tokens: Length of the answer, exactly.
        timeout: Longest wait for the next piece of an answer, in seconds.
    """

    port: int
    model: str
    tokens: int
    timeout: float


@dataclass
class Answer:
    """What one request came to.

    Args:
        status: Status, or None without an answer.
        finish_reason: Why the model stopped, or None when nobody said.
        tokens: Tokens of the answer, as the server counts them.
        done: Whether the stream ended with ``[DONE]``.
        error: What went wrong.
    """

    status: int | None = None
    finish_reason: str | None = None
    tokens: int = 0
    done: bool = False
    error: str | None = None

    def is_whole(self, order: Order) -> bool:
        """Say whether the client got everything that it asked for."""
        return (
            self.status == 200
            and self.error is None
            and self.finish_reason == "length"
            and self.tokens == order.tokens
            and self.done
        )


def ask(order: Order) -> Answer:
    """Stream one answer."""
    answer = Answer()
    connection = HTTPConnection(HOST, order.port, timeout=order.timeout)
    body = {
        "model": order.model,
        "prompt": "w10 w11 w12",
        "max_tokens": order.tokens,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    try:
        connection.request(
            "POST",
            "/v1/completions",
            json.dumps(body),
            {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"},
        )
        response = connection.getresponse()
        answer.status = response.status
        _read(response, answer)
    except (OSError, HTTPException) as error:
        answer.error = f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    return answer


class Crowd:
    """Clients that each ask again as soon as they have their answer.

    Args:
        order: What each of them asks for.
        size: How many there are, and so how many requests are in flight.
    """

    def __init__(self, order: Order, size: int) -> None:
        self.order = order
        self.answers: list[Answer] = []
        self._end = Event()
        self._lock = Lock()
        self._threads = [Thread(target=self._run, daemon=True) for _ in range(size)]

    def start(self) -> None:
        """Let all of them begin at once."""
        for thread in self._threads:
            thread.start()

    def last_orders(self) -> int:
        """Ask for nothing new, and return how many requests were answered by now."""
        with self._lock:
            self._end.set()
            return len(self.answers)

    def wait(self) -> None:
        """Wait for what is still in flight; the order's timeout bounds it."""
        for thread in self._threads:
            thread.join()

    @property
    def lost(self) -> list[Answer]:
        """The answers that are not whole."""
        return [item for item in self.answers if not item.is_whole(self.order)]

    def _run(self) -> None:
        while not self._end.is_set():
            answer = ask(self.order)
            with self._lock:
                self.answers.append(answer)


def _read(response: HTTPResponse, answer: Answer) -> None:
    if response.status != 200:
        answer.error = response.read().decode()
        return
    # parsed at the end: a client must keep up with the server
    for line in response.read().decode().splitlines():
        text = line.removeprefix("data: ")
        if text == "[DONE]":
            answer.done = True
        elif text:
            _note(json.loads(text), answer)


def _note(event: dict[str, Any], answer: Answer) -> None:
    if "error" in event:
        answer.error = str(event["error"])
    for choice in event.get("choices", ()):
        answer.finish_reason = choice.get("finish_reason") or answer.finish_reason
    if event.get("usage"):
        answer.tokens = event["usage"]["completion_tokens"]
