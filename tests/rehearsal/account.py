"""An account on this machine: the emulator, and commands that speak to it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
ACCOUNT = "123456789012"
"""moto's account, for whatever credentials."""
REGION = "us-east-1"

_START_SECONDS = 60
_COMMAND_SECONDS = 180
"""Longest time of a command; each took less than 10 s on two cores."""
_LINES = 60
"""Of the output of what failed. Assumed to be enough."""


@dataclass(frozen=True)
class Account:
    """The emulator's account.

    Args:
        port: Where the emulator listens.
        folder: Where its log is, and what commands write.
    """

    port: int
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs to speak to the emulator and to nothing else."""
        own = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith("AWS_")
        }
        return own | {
            "AWS_ACCESS_KEY_ID": "rehearsal",
            "AWS_SECRET_ACCESS_KEY": "rehearsal",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": str(self.folder / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "credentials"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": f"http://{HOST}:{self.port}",
            # the CDK CLI writes it into the template's address, of which moto reads
            # the path only where the host is called like this
            "AWS_ENDPOINT_URL_S3_FOR_CLOUDFORMATION": f"http://localhost:{self.port}",
            "CDK_HOME": str(self.folder / "cdk"),
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            "CI": "true",
            "NO_COLOR": "1",
            "NO_PROXY": f"{HOST},localhost",
        }

    @property
    def assembly(self) -> Path:
        """Where the synthesis is."""
        return self.folder / "cdk.out"

    def session(self) -> Any:
        """Return a session of boto3."""
        return boto3.Session(
            aws_access_key_id="rehearsal",
            aws_secret_access_key="rehearsal",
            region_name=REGION,
        )

    def client(self, service: str) -> Any:
        """Return a client of boto3.

        Args:
            service: Name of the service.
        """
        address = f"http://{HOST}:{self.port}"
        return self.session().client(service, endpoint_url=address)

    def attempt(self, *command: str) -> tuple[int, str]:
        """Run a command, and return its status and what it printed.

        Args:
            command: Program and arguments.

        Raises:
            AssertionError: It has not ended in time; its group is killed.
        """
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=_COMMAND_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(
                f"'{' '.join(command)}' took more than {_COMMAND_SECONDS} s"
            ) from error
        finally:
            kill_group(process)
        return process.returncode, output.decode()

    def run(self, *command: str) -> str:
        """Run a command that must succeed, and return what it printed.

        Args:
            command: Program and arguments.

        Raises:
            AssertionError: It failed, with what it and the emulator said.
        """
        status, output = self.attempt(*command)
        assert status == 0, "\n".join(
            [
                f"'{' '.join(command)}' ended with {status}:",
                *output.splitlines()[-_LINES:],
                "the emulator:",
                *self._complaints()[-_LINES:],
            ]
        )
        return output

    def cdk(self, command: str, *arguments: str) -> str:
        """Run the CDK CLI on the synthesis, and return what it printed.

        Args:
            command: Its command.
            arguments: What follows.
        """
        return self.run("cdk", command, *arguments, "--app", str(self.assembly))

    def _complaints(self) -> list[str]:
        lines = (self.folder / "emulator.log").read_text(errors="replace").splitlines()
        return [line for line in lines if '" 200 ' not in line]


@contextmanager
def emulator(folder: Path) -> Iterator[Account]:
    """Run an empty account.

    Args:
        folder: Where it writes.

    Raises:
        AssertionError: It did not start.
    """
    account = Account(_free_port(), folder)
    with (folder / "emulator.log").open("wb") as log:
        process = subprocess.Popen(
            (
                *(sys.executable, "-m", "tests.rehearsal"),
                *("-H", HOST, "-p", str(account.port)),
            ),
            cwd=ROOT,
            env=account.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _await(account, process)
        yield account
    finally:
        kill_group(process)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads a group, and the group.

    Args:
        process: The leader.
    """
    # none is left of a group that has ended
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _await(account: Account, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), socket.create_connection((HOST, account.port), 1):
            return
        time.sleep(0.2)
    log = (account.folder / "emulator.log").read_text(errors="replace")
    raise AssertionError(f"the emulator did not start:\n{log}")
