"""Commands on a Bottlerocket instance, which Systems Manager's Run Command carries.

No command holds a secret: Run Command keeps what it is told for 30 days. The sample
hands ``ctr`` a token of ECR there; ``host-ctr``, with which Bottlerocket pulls its own
containers, gets the token on the instance, with the role of the instance
(bottlerocket-os/bottlerocket-core-kit@ef08cc0, sources/host-ctr/cmd/host-ctr/main.go).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from eks_inference.account.session import Account
from eks_inference.account.waits import StepError, step, wait

USER_DATA = """\
[settings.host-containers.admin]
enabled = true
"""
"""Settings of the instance: the admin container, through which commands reach the host.
They name no cluster, so that the instance never becomes a node and no credential of one
gets into the snapshot."""

_DOCUMENT = "AWS-RunShellScript"

_ONLINE_SECONDS = 600
"""Longest wait for the agent, from a running instance on; assumed."""

_READY_SECONDS = 300
"""Longest wait for the admin container, which is pulled first; assumed."""

_PULL_SECONDS = 3600
"""Longest pull of one image, with its unpacking: Run Command's own default bound."""

_LIST_SECONDS = 60
"""Longest list of the images; assumed."""

_DELIVERY_SECONDS = 60
"""Longest way of a command to an agent that is online; assumed."""

_MOST_CHARACTERS = 300
"""Of what a failed command says last. Assumed to be enough for its reason."""

_HOST = "apiclient exec admin sheltie"
"""From the control container, where the agent runs, to a shell of the host: the way of
the sample. ``sheltie`` takes a command since
bottlerocket-os/bottlerocket-admin-container#50."""

_SOCKET = "/run/containerd/containerd.sock"
"""Socket of the containerd that kubelet uses; that of host containers is another."""

PREPARE = (
    # exec fails until the container is there
    "until apiclient exec admin true; do sleep 5; done",
    # it would count the images as unused, and collects those when the disk is full
    f"{_HOST} systemctl stop kubelet",
)
"""What is run first."""

LIST = f"{_HOST} ctr --address={_SOCKET} --namespace=k8s.io images list"
"""Prints a line for each image: name, type, digest, size, platforms, labels."""


def pull_command(name: str) -> str:
    """Return the command that pulls an image to where kubelet finds it.

    Args:
        name: Image as kubelet looks for it.
    """
    return (
        f"{_HOST} host-ctr --containerd-socket={_SOCKET} --namespace=k8s.io "
        f"pull-image --source={name} "
        # without it an image of public ECR makes host-ctr panic
        "--registry-config=/etc/host-containers/host-ctr.toml "
        # how the CRI plugin marks what it manages; the sample sets it, too
        "--label=io.cri-containerd.image=managed"
    )


class InstanceShell:
    """The shell of an instance.

    Args:
        account: The account.
        instance: Id of the instance.
    """

    def __init__(self, account: Account, instance: str) -> None:
        self._account = account
        self._instance = instance

    def prepare(self) -> None:
        """Wait until commands reach the host, and stop kubelet.

        Raises:
            StepError: They do not in time.
        """
        wait(
            self._account,
            "ssm",
            "agent_online",
            rule="'agent' of the instance must be online",
            seconds=_ONLINE_SECONDS,
            got=_ping,
            repair="the subnet must lead to Systems Manager and ECR, and the role of "
            "'instance_profile' must allow AmazonSSMManagedInstanceCore",
            Filters=[{"Key": "InstanceIds", "Values": [self._instance]}],
        )
        self._run(PREPARE, "'admin' container must be there", _READY_SECONDS)

    def pull(self, name: str) -> None:
        """Pull an image.

        Args:
            name: Image as kubelet looks for it.

        Raises:
            StepError: It cannot be pulled, or not in time.
        """
        self._run(
            [pull_command(name)], f"'image' {name!r} must be pulled", _PULL_SECONDS
        )

    def require(self, names: Sequence[str]) -> None:
        """Require that images are there, under their names and with their digests.

        Args:
            names: Images as kubelet looks for them.

        Raises:
            StepError: One is not, or they cannot be listed.
        """
        printed = self._run([LIST], "'images' must be listed", _LIST_SECONDS)
        rows = (line.split() for line in printed.splitlines())
        digests = {row[0]: row[2] for row in rows if len(row) > 2}  # noqa: PLR2004
        for name in names:
            if name not in digests:
                message = (
                    f"'image' {name!r} must be in containerd after its pull, got none; "
                    "try again, or another release of Bottlerocket"
                )
                raise StepError(message)
            _, at, digest = name.partition("@")
            if at and digests[name] != digest:
                message = (
                    f"'image' {name!r} must have its digest, got {digests[name]!r}; "
                    "do not use this registry"
                )
                raise StepError(message)

    def _run(self, commands: Sequence[str], rule: str, seconds: int) -> str:
        client = self._account.client("ssm")
        with step(rule):
            sent = client.send_command(
                InstanceIds=[self._instance],
                DocumentName=_DOCUMENT,
                TimeoutSeconds=_DELIVERY_SECONDS,
                Parameters={
                    "commands": list(commands),
                    "executionTimeout": [str(seconds)],
                },
            )
        asked = {
            "CommandId": sent["Command"]["CommandId"],
            "InstanceId": self._instance,
        }
        wait(
            self._account,
            "ssm",
            "command_executed",
            rule=rule,
            seconds=seconds + _DELIVERY_SECONDS,
            got=_invocation,
            repair="see what the command says, and whether the role of "
            "'instance_profile' may pull",
            **asked,
        )
        with step(rule):
            return str(client.get_command_invocation(**asked)["StandardOutputContent"])


def _ping(answer: Mapping[str, Any]) -> str:
    listed = answer["InstanceInformationList"]
    return repr(listed[0]["PingStatus"]) if listed else "none"


def _invocation(answer: Mapping[str, Any]) -> str:
    said = answer.get("StandardErrorContent") or answer.get("StandardOutputContent")
    text = " ".join((said or "").split())[-_MOST_CHARACTERS:]
    return f"{answer['Status']!r}" + (f" ({text})" if text else "")
