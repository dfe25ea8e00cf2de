"""What Lambda and CloudFormation are to a function of the library, on loopback."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from types import ModuleType
from typing import Any

from eks_inference._handler_function import handler_code

Answers = list[dict[str, Any]]
"""What CloudFormation has been sent."""


def load(handler: str) -> ModuleType:
    """Return a function as Lambda loads it: the text that a template carries."""
    module = ModuleType(f"index_{handler}")
    exec(compile(handler_code(handler), f"{handler}.py", "exec"), vars(module))
    return module


def imported(code: str) -> set[str]:
    """Return the packages that a text imports, wherever it does so."""
    return {
        line.split()[1].partition(".")[0]
        for line in code.splitlines()
        if line.strip().startswith(("import ", "from "))
    }


class Context:
    """Lambda's view of a call, with the time that it has left."""

    def __init__(self, seconds: int = 900) -> None:
        self.seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        """Return what Lambda would."""
        return self.seconds * 1000


class Clock:
    """A time that passes only while someone sleeps; others may wait for it, too."""

    def __init__(self) -> None:
        self.now = 0.0
        self.watchers: list[Callable[[], object]] = []

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        for watcher in self.watchers:
            watcher()


class CloudFormation:
    """Sends requests to a function and takes its answers."""

    def __init__(self, port: int) -> None:
        self.answers: Answers = []
        self._port = port

    def request(
        self, kind: str, properties: dict[str, Any], *, known_as: str
    ) -> dict[str, Any]:
        """Return a request.

        Args:
            kind: Create, Update or Delete.
            properties: The resource's properties, as texts.
            known_as: Physical id of a resource that exists.
        """
        return {
            "RequestType": kind,
            "ResponseURL": f"http://127.0.0.1:{self._port}/answer?signature=x",
            "StackId": "arn:aws:cloudformation:eu-central-1:111122223333:stack/s/1",
            "RequestId": "42",
            "LogicalResourceId": "Resource",
            **({} if kind == "Create" else {"PhysicalResourceId": known_as}),
            "ResourceProperties": properties,
        }


@contextmanager
def cloudformation() -> Iterator[CloudFormation]:
    """Yield a CloudFormation that listens."""

    class Receiver(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == ""
            assert len(body) <= 4096
            sender.answers.append(json.loads(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Stay silent."""

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        sender = CloudFormation(server.server_port)
        with serving(server):
            yield sender


@contextmanager
def serving(server: HTTPServer) -> Iterator[None]:
    """Let a server answer in the background."""
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
