"""Makes a snapshot with container images; the instance that it takes always ends."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from eks_inference.account.image_snapshot import instance_tags, snapshot_tags
from eks_inference.account.instance_shell import USER_DATA, InstanceShell
from eks_inference.account.session import Account, reason_of, refusals
from eks_inference.account.snapshot_plan import SnapshotPlan
from eks_inference.account.waits import StepError, step, wait

CREATE_ACTIONS = (
    "ec2:CreateSnapshot",
    "ec2:CreateTags",
    "ec2:RunInstances",
    "ec2:StopInstances",
    "ec2:TerminateInstances",
    "iam:PassRole",
    "ssm:DescribeInstanceInformation",
    "ssm:GetCommandInvocation",
    "ssm:SendCommand",
)
"""All that ``image-snapshot --create`` may do beyond a plan. ``CreateTags`` and
``PassRole`` are no calls of their own: EC2 asks for them when something is made with
tags, or launched with a role (EC2 user guide, Tag your resources; IAM user guide, Grant
permissions to pass a role)."""

_DATA_DEVICE = "/dev/xvdb"
"""Device of Bottlerocket's data volume."""

_SYSTEM_GIB = 4
"""Size of Bottlerocket's own volume, as the nodes of a pool have it."""

_FAST_VOLUME = {"Iops": 4_000, "Throughput": 1_000}
"""IOPS and MiB/s of the data volume, as the sample sets them."""

_RUNNING_SECONDS = 300
"""Longest start of the instance; assumed."""

_STOPPED_SECONDS = 600
"""Longest stop of the instance: boto3's own bound of this waiter."""

_COMPLETED_SECONDS = 3600
"""Longest snapshot. Assumed: 41 GB are copied (12 compressed, 29 unpacked)."""

Say = Callable[[str], None]
"""Tells a person what is being done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotResult:
    """What has come of it.

    Args:
        snapshot: Id of the complete snapshot, or None where it failed.
        errors: Why it failed, and what was not ended.
    """

    snapshot: str | None
    errors: tuple[str, ...] = ()


def make_snapshot(account: Account, plan: SnapshotPlan, *, say: Say) -> SnapshotResult:
    """Make the snapshot, or wait for the one that is being made.

    The instance is ended when it is done, has failed or is interrupted.

    Args:
        account: The account.
        plan: What to make it with.
        say: Is told each step.
    """
    found = plan.existing
    try:
        if found is not None:
            if not found.completed:
                say(f"waiting for {found.name}, which an earlier run has begun")
                _await_snapshot(account, found.name)
            return SnapshotResult(snapshot=found.name)
        say(f"launching {plan.request.instance_type} with {plan.ami}")
        instance = _launched(account, plan)
    except StepError as error:
        return SnapshotResult(snapshot=None, errors=(str(error),))
    snapshot, errors = None, []
    try:
        snapshot = _taken(account, plan, instance, say)
    except StepError as error:
        errors.append(str(error))
    finally:
        # an interruption too comes by here
        errors += _ended(account, instance, say)
    return SnapshotResult(snapshot=snapshot, errors=tuple(errors))


def _launched(account: Account, plan: SnapshotPlan) -> str:
    request = plan.request
    tags = _tag_list(instance_tags(request))
    with step("'instance' must be launched"):
        [instance] = account.client("ec2").run_instances(
            ImageId=plan.ami,
            InstanceType=request.instance_type,
            MinCount=1,
            MaxCount=1,
            IamInstanceProfile={"Name": plan.instance_profile},
            NetworkInterfaces=[
                {
                    "DeviceIndex": 0,
                    "SubnetId": plan.subnet,
                    "Groups": list(plan.security_groups),
                    "AssociatePublicIpAddress": False,
                    "DeleteOnTermination": True,
                }
            ],
            MetadataOptions={
                "HttpEndpoint": "enabled",
                "HttpTokens": "required",
                "HttpPutResponseHopLimit": 1,
            },
            BlockDeviceMappings=[
                _volume("/dev/xvda", _SYSTEM_GIB, {}),
                _volume(_DATA_DEVICE, request.volume_gib, _FAST_VOLUME),
            ],
            UserData=USER_DATA,
            TagSpecifications=[
                {"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")
            ],
        )["Instances"]
    return str(instance["InstanceId"])


def _volume(device: str, size_gib: int, speed: Mapping[str, int]) -> dict[str, Any]:
    return {
        "DeviceName": device,
        "Ebs": {
            "VolumeSize": size_gib,
            "VolumeType": "gp3",
            "Encrypted": True,
            "DeleteOnTermination": True,
            **speed,
        },
    }


def _taken(account: Account, plan: SnapshotPlan, instance: str, say: Say) -> str:
    """Pull the images on a running instance, stop it, and take the snapshot."""
    client, names = account.client("ec2"), plan.request.names
    say(f"waiting for {instance}")
    _await_instance(account, instance, "running", _RUNNING_SECONDS)
    shell = InstanceShell(account, instance)
    shell.prepare()
    for name in names:
        say(f"pulling {name}")
        shell.pull(name)
    shell.require(names)
    # so that everything is written to the volume
    say(f"stopping {instance}")
    with step("'instance' must be stopped"):
        client.stop_instances(InstanceIds=[instance])
    _await_instance(account, instance, "stopped", _STOPPED_SECONDS)
    volume = _data_volume(account, instance)
    with step("'snapshot' must be begun"):
        snapshot = client.create_snapshot(
            VolumeId=volume,
            Description=f"Container images for nodes of {plan.request.owner.cluster}",
            TagSpecifications=[
                {
                    "ResourceType": "snapshot",
                    "Tags": _tag_list(snapshot_tags(plan.request)),
                }
            ],
        )["SnapshotId"]
    say(f"waiting for {snapshot}")
    _await_snapshot(account, snapshot)
    return str(snapshot)


def _data_volume(account: Account, instance: str) -> str:
    with step("'instance' must be described"):
        found = account.client("ec2").describe_instances(InstanceIds=[instance])
    [mappings] = [
        item["BlockDeviceMappings"]
        for page in found["Reservations"]
        for item in page["Instances"]
    ]
    volumes = {item["DeviceName"]: item["Ebs"]["VolumeId"] for item in mappings}
    if _DATA_DEVICE not in volumes:
        message = (
            f"'instance' must have a volume {_DATA_DEVICE}, got {sorted(volumes)}; "
            "try again"
        )
        raise StepError(message)
    return str(volumes[_DATA_DEVICE])


def _await_instance(account: Account, id: str, state: str, seconds: int) -> None:
    wait(
        account,
        "ec2",
        f"instance_{state}",
        rule=f"'instance' must be {state}",
        seconds=seconds,
        got=_state_of_instance,
        repair="try again, or another --instance-type",
        InstanceIds=[id],
    )


def _state_of_instance(answer: Mapping[str, Any]) -> str:
    [item] = [item for page in answer["Reservations"] for item in page["Instances"]]
    reason = item.get("StateReason", {}).get("Message", "")
    return f"{item['State']['Name']!r}" + (f" ({reason})" if reason else "")


def _await_snapshot(account: Account, id: str) -> None:
    wait(
        account,
        "ec2",
        "snapshot_completed",
        rule=f"'snapshot' {id} must be completed",
        seconds=_COMPLETED_SECONDS,
        got=lambda answer: repr(answer["Snapshots"][0]["State"]),
        repair="if it is pending, run the command again, which waits for it; "
        "otherwise delete it first",
        SnapshotIds=[id],
    )


def _ended(account: Account, instance: str, say: Say) -> list[str]:
    """End the instance; return, and say at once, why it could not be ended."""
    say(f"ending {instance}")
    try:
        account.client("ec2").terminate_instances(InstanceIds=[instance])
    except refusals() as error:
        message = (
            f"'instance' {instance} must be ended, got {reason_of(error)}; "
            f"aws ec2 terminate-instances --instance-ids {instance}"
        )
        # an interruption leaves no result that would hold it
        say(message)
        return [message]
    return []


def _tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
