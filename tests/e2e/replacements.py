"""What a rendered container needs to run on a machine without GPU, AWS or cluster.

``CHANGES`` is the whole list: what it does not name runs as it is rendered.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
VLLM_ENVIRONMENT = ROOT / ".venv-e2e"
"""Virtual environment that ``make e2e`` sets up."""

NOTHING = "-"


@dataclass(frozen=True)
class Change:
    """One difference between the pod and the process.

    Args:
        part: ``command``, ``folder``, ``argument`` or ``environment``.
        name: What is changed.
        value: What stands here instead or in addition; names in braces are filled in.
        reason: Why.
    """

    part: str
    name: str
    value: str
    reason: str


CHANGES = (
    Change("command", "vllm", "{bin}/vllm", "of a build for CPUs, at the same release"),
    Change("folder", "/cache", "{cache}", "the process has no volumes"),
    Change("folder", "/scratch", "{scratch}", "the process has no volumes"),
    Change("argument", "--host", "127.0.0.1", "nothing else may reach it"),
    Change("argument", "--port", "{port}", "8000 may be taken"),
    Change("argument", "--enforce-eager", "", "compiling for a CPU takes minutes"),
    Change(
        "environment",
        "VLLM_CPU_KVCACHE_SPACE",
        "1",
        "GiB; --gpu-memory-utilization would claim that share of the host's memory",
    ),
    Change("environment", "PATH", "{bin}:/usr/bin:/bin", "the image's own"),
    Change("environment", "VLLM_API_KEY", "{key}", "the kubelet reads the Secret"),
    Change(
        "environment",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "{agent}",
        "EKS adds it to the pod: the address of the Pod Identity agent",
    ),
    Change(
        "environment",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "{token}",
        "EKS adds it to the pod: what the agent exchanges for credentials",
    ),
    Change("environment", "AWS_ENDPOINT_URL", "{s3}", "S3 is a process beside it"),
    Change(
        "environment",
        "RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING",
        "0",
        "an IP address has no subdomain for each bucket",
    ),
)


@dataclass
class Command:
    """What is started, and how it differs from what is rendered.

    Args:
        argv: Program and arguments.
        environment: All variables; none is inherited.
        folder: Working directory.
        table: A line for each change: part, name, rendered, here, reason.
    """

    argv: list[str]
    environment: dict[str, str]
    folder: str
    table: list[tuple[str, str, str, str, str]] = field(default_factory=list)


def runnable(container: Mapping[str, Any], here: Mapping[str, object]) -> Command:
    """Return the process for a rendered container.

    Args:
        container: The container as it is rendered.
        here: What fills the names in braces.
    """
    command = Command(
        argv=[*container["command"], *container["args"]],
        environment={item["name"]: _shown(item) for item in container["env"]},
        folder=container["workingDir"],
    )
    for change in CHANGES:
        value = change.value.format_map(here)
        before = _apply(command, change, value)
        row = (change.part, change.name, before, value or "set", change.reason)
        command.table.append(row)
    return command


def without(container: Mapping[str, Any], flag: str) -> dict[str, Any]:
    """Return the container without a flag that it must have."""
    rest = [item for item in container["args"] if not item.startswith(f"{flag}=")]
    assert len(rest) == len(container["args"]) - 1, f"{flag} is not rendered"
    return {**container, "args": rest}


def _apply(command: Command, change: Change, value: str) -> str:
    match change.part:
        case "command":
            assert command.argv[0] == change.name
            command.argv[0] = value
            return change.name
        case "folder":
            return _move(command, change.name, value)
        case "argument":
            given = [item for item in command.argv if item.startswith(change.name)]
            assert not given, f"{change.name} is rendered: the change is stale"
            command.argv.append(f"{change.name}={value}" if value else change.name)
            return NOTHING
        case _:
            before = command.environment.get(change.name, NOTHING)
            command.environment[change.name] = value
            return before


def _move(command: Command, rendered: str, folder: str) -> str:
    def moved(text: str) -> str:
        inside = text == rendered or text.startswith(f"{rendered}/")
        return folder + text.removeprefix(rendered) if inside else text

    command.folder = moved(command.folder)
    command.environment = {
        name: moved(value) for name, value in command.environment.items()
    }
    return rendered


def _shown(variable: Mapping[str, Any]) -> str:
    if "value" in variable:
        return str(variable["value"])
    secret = variable["valueFrom"]["secretKeyRef"]
    return f"Secret {secret['name']}, key {secret['key']}"
