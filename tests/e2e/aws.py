"""S3 and the Pod Identity agent of the node, on loopback ports."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from tests.e2e.pod import HOST, free_port, get, kill_group
from tests.e2e.replacements import VLLM_ENVIRONMENT

_START_SECONDS = 60
_TOKEN = "token-of-the-service-account"


@dataclass
class Agent:
    """What hands out credentials on a node.

    Args:
        url: Its address.
        token: File with the token that it demands.
        asked: Whether each request had the token.
    """

    url: str
    token: Path
    asked: list[bool] = field(default_factory=list)


@contextmanager
def agent(folder: Path) -> Iterator[Agent]:
    """Run an agent that answers as EKS's does (eks-pod-identity-agent, README)."""
    found = Agent("", folder / "token")
    found.token.write_text(_TOKEN)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = self.headers.get("Authorization") == _TOKEN
            found.asked.append(allowed)
            credentials = {
                "AccessKeyId": "AKIAIOSFODNN7EXAMPLE",
                "SecretAccessKey": "secret",
                "Token": "session",
                "AccountId": "111122223333",
                "Expiration": "2099-01-01T00:00:00Z",
            }
            body = json.dumps(credentials if allowed else {}).encode()
            self.send_response(200 if allowed else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass  # not among the output of the tests

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        found.url = f"http://{HOST}:{server.server_port}/v1/credentials"
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield found
        finally:
            server.shutdown()


@contextmanager
def s3(folder: Path) -> Iterator[str]:
    """Run an S3 without anything in it, and return its address.

    Args:
        folder: Where its log is written.
    """
    port = free_port()
    with (folder / "s3.log").open("wb") as output:
        process = subprocess.Popen(
            [VLLM_ENVIRONMENT / "bin" / "moto_server", "-H", HOST, "-p", str(port)],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _await(port, process)
        yield f"http://{HOST}:{port}"
    finally:
        kill_group(process)


def upload(address: str, uri: str, folder: Path) -> None:
    """Put every file of a folder where a model is read from.

    Args:
        address: Address of S3.
        uri: ``s3://bucket/prefix/``.
        folder: What is uploaded.
    """
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    _put(address, f"/{bucket}", b"")
    for path in folder.iterdir():
        _put(address, f"/{bucket}/{prefix}{path.name}", path.read_bytes())


def _put(address: str, path: str, body: bytes) -> None:
    connection = HTTPConnection(address.removeprefix("http://"), timeout=60)
    try:
        connection.request("PUT", path, body)
        status = connection.getresponse().status
    finally:
        connection.close()
    assert status == 200, f"{path}: {status}"


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            get(port, "/")
        except (OSError, HTTPException):
            time.sleep(0.2)
        else:
            return
    raise RuntimeError("S3 did not start")
