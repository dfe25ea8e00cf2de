"""A real Prometheus on a loopback port, filled with series that a test has made."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.observability.series import Series, open_metrics

_START_SECONDS = 60
_VARIABLES = {"PROMETHEUS": "prometheus", "PROMTOOL": "promtool"}


class QueryError(Exception):
    """Prometheus refused a query."""


@dataclass(frozen=True)
class Sample:
    """One series of an answer, with its labels and its points (time, value)."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def value(self) -> float:
        """The last value."""
        return self.points[-1][1]


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    url: str

    def query(self, expression: str, *, at: float) -> list[Sample]:
        """Return the answer at one moment; a scalar is a series without labels."""
        answer = self._get("query", query=expression, time=at)
        if answer["resultType"] in {"scalar", "string"}:
            return [_sample({"metric": {}, "values": [answer["result"]]})]
        return [_sample(item) for item in answer["result"]]

    def query_range(
        self, expression: str, *, begin: float, end: float, step: float
    ) -> list[Sample]:
        """Return the answer over time."""
        answer = self._get(
            "query_range", query=expression, start=begin, end=end, step=step
        )
        return [_sample(item) for item in answer["result"]]

    def one(self, expression: str, *, at: float) -> float:
        """Return the value of an answer that must have exactly one series."""
        (sample,) = self.query(expression, at=at)
        return sample.value

    def label_values(
        self, label: str, match: str, *, begin: float, end: float
    ) -> list[str]:
        """Return the values of a label of the series that a selector matches."""
        path = f"label/{label}/values"
        found: list[str] = self._get(path, **{"match[]": match}, start=begin, end=end)
        return found

    def _get(self, path: str, **arguments: object) -> Any:
        address = f"{self.url}/api/v1/{path}?{urlencode(arguments)}"
        try:
            with urlopen(address, timeout=30) as answer:
                return json.load(answer)["data"]
        except HTTPError as error:
            text = json.load(error)["error"]
            raise QueryError(f"{text}\n{arguments}") from None


@contextmanager
def serve(series: Iterable[Series], folder: Path) -> Iterator[Prometheus]:
    """Run a server that holds the series, and stop it at the end.

    Args:
        series: What it holds.
        folder: An empty folder for its files.
    """
    data = folder / "data"
    text = folder / "series.txt"
    text.write_text(open_metrics(series))
    _run("PROMTOOL", "tsdb", "create-blocks-from", "openmetrics", text, data)
    configuration = folder / "prometheus.yml"
    # it scrapes nothing, not even itself: what it holds is what the test has made
    configuration.write_text("scrape_configs: []\n")
    port = _free_port()
    arguments = (
        f"--config.file={configuration}",
        f"--storage.tsdb.path={data}",
        # blocks lie in the past, and none may be deleted for its age
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [binary("PROMETHEUS"), *arguments], stdout=output, stderr=output
        )
    try:
        server = Prometheus(f"http://127.0.0.1:{port}")
        _wait(server, process, log)
        yield server
    finally:
        process.terminate()
        process.wait()


def binary(variable: str) -> str:
    """Return a program: that of an environment variable, or that of the path.

    A missing program is an error and never a skip: without it nothing is proved.
    """
    name = _VARIABLES[variable]
    found = shutil.which(os.environ.get(variable) or name)
    if found is None:
        raise RuntimeError(
            f"'{name}' is not on the path; 'make servers' puts it into .venv, or "
            f"let {variable} name it"
        )
    return found


def _run(variable: str, *arguments: object) -> None:
    done = subprocess.run(
        [binary(variable), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{variable} failed: {done.stdout}{done.stderr}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(server: Prometheus, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            with urlopen(f"{server.url}/-/ready", timeout=1):
                return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.05)
    raise RuntimeError(f"Prometheus did not start:\n{log.read_text()}")


def _sample(item: Mapping[str, Any]) -> Sample:
    values = item.get("values") or [item["value"]]
    points = tuple((float(when), float(value)) for when, value in values)
    return Sample(item["metric"], points)
