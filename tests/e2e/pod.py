"""A rendered container as a process, treated as the kubelet treats a container."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Event, Thread
from typing import Any

from tests.e2e.replacements import VLLM_ENVIRONMENT, Command, runnable
from tests.e2e.variants import container as container_of

HOST = "127.0.0.1"
KEY = "key-of-the-clients"


class StartError(Exception):
    """The container did not start in time, or ended."""


@dataclass(frozen=True)
class Probe:
    """A rendered ``httpGet`` probe of one container.

    Args:
        rendered: The probe as it is rendered.
        port: Where its port is on this machine.
    """

    rendered: Mapping[str, Any]
    port: int

    @property
    def period(self) -> float:
        """Time between two probes, in seconds."""
        return float(self.rendered["periodSeconds"])

    @property
    def threshold(self) -> int:
        """Failures in a row after which the kubelet acts."""
        return int(self.rendered["failureThreshold"])

    def passes(self) -> bool:
        """Ask once, without a key, as the kubelet does: 200 to 399 is success."""
        path = self.rendered["httpGet"]["path"]
        try:
            status, _ = get(self.port, path, timeout=self.rendered["timeoutSeconds"])
        except (OSError, HTTPException):
            return False
        return 200 <= status < 400


@dataclass
class Pod:
    """A running container.

    Args:
        deployment: The Deployment that it was rendered in.
        command: What was started.
        port: Where vLLM listens.
        log: Its output.
        process: The process.
        start_seconds: Time until the start-up probe passed.
    """

    deployment: Mapping[str, Any]
    command: Command
    port: int
    log: Path
    process: subprocess.Popen[bytes]
    start_seconds: float = 0
    watches: dict[str, "Watch"] = field(default_factory=dict)

    @property
    def spec(self) -> Mapping[str, Any]:
        """Spec of the pod."""
        spec: Mapping[str, Any] = self.deployment["spec"]["template"]["spec"]
        return spec

    @property
    def container(self) -> Mapping[str, Any]:
        """The container as it is rendered."""
        return container_of(dict(self.deployment))

    @property
    def grace(self) -> float:
        """Time between the decision to end the pod and SIGKILL, in seconds."""
        return float(self.spec["terminationGracePeriodSeconds"])

    def probe(self, kind: str) -> Probe:
        """Return a probe: ``startupProbe``, ``readinessProbe`` or ``livenessProbe``."""
        rendered = self.container[kind]
        [port] = self.container["ports"]
        assert rendered["httpGet"]["port"] in (port["name"], port["containerPort"])
        return Probe(rendered, self.port)

    def await_start(self) -> None:
        """Probe until the start-up probe passes, or give up when the kubelet would."""
        probe, begin = self.probe("startupProbe"), time.monotonic()
        for _ in range(probe.threshold):
            if self.process.poll() is not None:
                break
            if probe.passes():
                self.start_seconds = time.monotonic() - begin
                return
            time.sleep(probe.period)
        raise StartError("\n".join(self.log.read_text().splitlines()[-40:]))

    def pre_stop(self) -> None:
        """Run the rendered preStop hook."""
        hook = self.container["lifecycle"]["preStop"]["exec"]["command"]
        subprocess.run(hook, check=True, timeout=self.grace)

    def terminate(self) -> None:
        """Send SIGTERM to the first process alone, as the kubelet does."""
        self.process.send_signal(signal.SIGTERM)

    def ends_within(self, seconds: float) -> bool:
        """Say whether the process ends by itself."""
        try:
            self.process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End every process of the container."""
        for watch in self.watches.values():
            watch.stop()
        kill_group(self.process)


class Watch(Thread):
    """Probes a running pod at the probe's own period, and counts failures in a row."""

    def __init__(self, probe: Probe) -> None:
        super().__init__(daemon=True)
        self.probe = probe
        self.longest = 0
        self.asked = 0
        self._end = Event()

    def run(self) -> None:
        """Probe until ``stop``."""
        failures = 0
        while not self._end.wait(self.probe.period):
            failures = 0 if self.probe.passes() else failures + 1
            self.asked += 1
            self.longest = max(self.longest, failures)

    def await_next(self) -> None:
        """Wait until it has probed once more from now on, and had its answer."""
        # the one that is under way may have begun before
        wanted = self.asked + 2
        end = time.monotonic() + 4 * self.probe.period
        while self.asked < wanted:
            assert time.monotonic() < end, "the probe has no answer"
            time.sleep(0.2)

    def stop(self) -> None:
        """Probe no more."""
        self._end.set()
        if self.is_alive():
            self.join()


@contextmanager
def running(
    deployment: Mapping[str, Any], folder: Path, here: Mapping[str, object]
) -> Iterator[Pod]:
    """Start a rendered container, wait for its start-up probe, and end it at last.

    Args:
        deployment: The Deployment.
        folder: An empty folder.
        here: Where things are on this machine: ``s3``, ``agent`` and ``token``.
    """
    places = {name: folder / name for name in ("cache", "scratch")}
    for place in places.values():
        place.mkdir(parents=True)
    port = free_port()
    command = runnable(
        container_of(dict(deployment)),
        {
            **here,
            **places,
            "bin": VLLM_ENVIRONMENT / "bin",
            "port": port,
            "key": KEY,
        },
    )
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command.argv,
            env=command.environment,
            cwd=command.folder,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    pod = Pod(deployment, command, port, log, process)
    try:
        pod.await_start()
        for kind in ("readinessProbe", "livenessProbe"):
            pod.watches[kind] = Watch(pod.probe(kind))
            pod.watches[kind].start()
        yield pod
    finally:
        pod.kill()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads a group, and the group."""
    # none is left of a group that has ended
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def get(
    port: int, path: str, *, timeout: float = 10, key: str | None = None
) -> tuple[int, str]:
    """Return status and text of an answer.

    Args:
        port: Port on this machine.
        path: Path.
        timeout: Longest wait, in seconds.
        key: Key to send, or None to send none.
    """
    connection = HTTPConnection(HOST, port, timeout=timeout)
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
