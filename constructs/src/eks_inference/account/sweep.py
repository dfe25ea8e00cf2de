"""Deletes what a deletion has left behind, and nothing that is not the cluster's."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from eks_inference._check import ConfigurationError, Problems
from eks_inference.account.leftovers import (
    FINDERS,
    KINDS,
    Leftover,
    existing_stacks,
    log_groups,
    tagged,
)
from eks_inference.account.ownership import STAGE_TAG, Owner
from eks_inference.account.session import (
    Account,
    code_of,
    or_none,
    reason_of,
    refusals,
    repair_of,
)

READ_ACTIONS = (
    "cloudformation:DescribeStacks",
    "cloudformation:ListStacks",
    "ec2:DescribeInstances",
    "ec2:DescribeLaunchTemplates",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeVolumes",
    "eks:DescribeCluster",
    "iam:GetInstanceProfile",
    "iam:ListInstanceProfiles",
    "logs:DescribeLogGroups",
    "tag:GetResources",
)
"""All that ``sweep`` may do to look, as IAM calls it. ``ListStacks`` is no call of its
own: CloudFormation asks for it when all stacks are described (API reference,
DescribeStacks)."""

DELETE_ACTIONS = (
    "ec2:DeleteLaunchTemplate",
    "ec2:DeleteNetworkInterface",
    "ec2:DeleteSecurityGroup",
    "ec2:DeleteVolume",
    "ec2:RevokeSecurityGroupEgress",
    "ec2:RevokeSecurityGroupIngress",
    "ec2:TerminateInstances",
    "iam:DeleteInstanceProfile",
    "iam:RemoveRoleFromInstanceProfile",
)
"""All that ``sweep --delete`` may do beyond that."""

_WAIT = {"Delay": 15, "MaxAttempts": 40}
"""How often, and every how many seconds, EC2 is asked whether an instance has ended:
ten minutes, boto3's own bound of this waiter."""

_GONE = ".NotFound"
"""End of EC2's codes of something that is gone, with the instance that held it."""

_FAILED = "DELETE_FAILED"
"""Status of a stack whose deletion leftovers may be in the way of."""


class Outcome(StrEnum):
    """What has become of something that was left."""

    LEFT = "left"
    """Nothing: it was only looked for."""
    DELETED = "deleted"
    """It is gone."""
    FAILED = "failed"
    """AWS has refused its deletion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Something that was left, and what has become of it.

    Args:
        item: What was left.
        outcome: What has become of it. Default: it is still there.
        error: Why it could not be deleted. Default: it was not tried, or it could.
    """

    item: Leftover
    outcome: Outcome = Outcome.LEFT
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """The answer.

    Args:
        results: What was left, in the order of deletion.
        kept: What belongs to the cluster and is never deleted here.
        unknown: What could not be looked for, with the reason and the repair.
    """

    results: tuple[Result, ...]
    kept: tuple[Leftover, ...]
    unknown: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left that could be deleted, as far as one can see."""
        gone = all(result.outcome is Outcome.DELETED for result in self.results)
        return gone and not self.unknown


def sweep(account: Account, owner: Owner, *, delete: bool = False) -> Sweep:
    """Look for what a deletion has left behind, and delete it where that is asked for.

    Args:
        account: The account, in the region of the cluster.
        owner: The cluster, which must be gone.
        delete: Whether to delete. Default: False, it is only listed.

    Raises:
        ConfigurationError: The cluster or a stack of its stage still exists, or AWS
            does not say whether it does. Nothing was deleted.
    """
    try:
        stacks = existing_stacks(account)
        _refuse(account, owner, stacks)
    except refusals() as error:
        message = (
            f"'cluster' must be known to be gone, got {reason_of(error)}; "
            f"{repair_of(error)}"
        )
        raise ConfigurationError([message]) from error
    unknown: list[str] = []
    found: list[Leftover] = []
    for kind, find in FINDERS.items():
        found += _looked(f"{kind}s", find(account, owner), unknown)
    kept = [item for item in found if item.stack in stacks]
    kept += _looked("tagged resources", tagged(account, owner), unknown)
    logs = _looked("log groups", log_groups(account, owner), unknown)
    known = {(item.kind, item.name) for item in kept}
    kept += [item for item in logs if (item.kind, item.name) not in known]
    results = [Result(item=item) for item in found if item.stack not in stacks]
    if delete:
        results = list(_deleted(account, results))
    return Sweep(results=tuple(results), kept=tuple(kept), unknown=tuple(unknown))


def _refuse(
    account: Account, owner: Owner, stacks: Mapping[str, Mapping[str, Any]]
) -> None:
    """Refuse to look while something may still be in use."""
    client = account.client("eks")
    cluster = or_none(lambda: client.describe_cluster(name=owner.cluster))
    with Problems() as problems:
        if cluster is not None:
            problems.broken(
                f"'cluster' {owner.cluster!r} must be gone",
                cluster["cluster"]["status"],
                "its nodes may be at work; delete the stacks first",
            )
        for name, stack in stacks.items():
            tag = stack["tags"].get(STAGE_TAG)
            if tag is not None and tag == owner.stage and stack["status"] != _FAILED:
                problems.broken(
                    f"stack {name!r} of stage {owner.stage!r} must be gone or "
                    f"{_FAILED}",
                    stack["status"],
                    "delete it first",
                )


def _looked(name: str, find: Iterator[Leftover], unknown: list[str]) -> list[Leftover]:
    try:
        return list(find)
    except refusals() as error:
        unknown.append(f"{name}: {reason_of(error)}; {repair_of(error)}")
        return []


def _deleted(account: Account, results: Iterable[Result]) -> Iterator[Result]:
    """Delete in the order of ``KINDS``; a failure stops nothing else."""
    left = list(results)
    for kind in KINDS:
        mine = [result for result in left if result.item.kind == kind]
        if kind == "security group":
            mine = [_tried(result, _without_rules, account) for result in mine]
        tried = [_tried(result, _DELETIONS[kind], account) for result in mine]
        if kind == "instance":
            tried = _awaited(account, tried)
        yield from (
            result
            if result.outcome is Outcome.FAILED
            else replace(result, outcome=Outcome.DELETED)
            for result in tried
        )


def _tried(
    result: Result, do: Callable[[Account, str], None], account: Account
) -> Result:
    if result.outcome is Outcome.FAILED:
        return result
    try:
        do(account, result.item.name)
    except refusals() as error:
        if not code_of(error).endswith(_GONE):
            return replace(result, outcome=Outcome.FAILED, error=reason_of(error))
    return result


def _end_instance(account: Account, id: str) -> None:
    account.client("ec2").terminate_instances(InstanceIds=[id])


def _awaited(account: Account, told: Sequence[Result]) -> list[Result]:
    """Wait for all instances together; what has not ended by then has failed."""
    ids = [item.item.name for item in told if item.outcome is not Outcome.FAILED]
    waiter = account.client("ec2").get_waiter("instance_terminated")
    if ids:
        with suppress(*refusals()):
            waiter.wait(InstanceIds=ids, WaiterConfig=_WAIT)

    def ask(_: Account, id: str) -> None:
        waiter.wait(InstanceIds=[id], WaiterConfig={"MaxAttempts": 1})

    return [_tried(result, ask, account) for result in told]


def _delete_volume(account: Account, id: str) -> None:
    account.client("ec2").delete_volume(VolumeId=id)


def _delete_interface(account: Account, id: str) -> None:
    account.client("ec2").delete_network_interface(NetworkInterfaceId=id)


def _delete_template(account: Account, id: str) -> None:
    account.client("ec2").delete_launch_template(LaunchTemplateId=id)


def _delete_profile(account: Account, name: str) -> None:
    client = account.client("iam")
    profile = client.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    for role in profile["Roles"]:
        client.remove_role_from_instance_profile(
            InstanceProfileName=name, RoleName=role["RoleName"]
        )
    client.delete_instance_profile(InstanceProfileName=name)


def _without_rules(account: Account, id: str) -> None:
    """Take from a group the rules that name groups, which hold those groups."""
    client = account.client("ec2")
    [group] = client.describe_security_groups(GroupIds=[id])["SecurityGroups"]
    for key, revoke in (
        ("IpPermissions", client.revoke_security_group_ingress),
        ("IpPermissionsEgress", client.revoke_security_group_egress),
    ):
        rules = [rule for rule in group[key] if rule["UserIdGroupPairs"]]
        if rules:
            revoke(GroupId=id, IpPermissions=rules)


def _delete_group(account: Account, id: str) -> None:
    account.client("ec2").delete_security_group(GroupId=id)


_DELETIONS: dict[str, Callable[[Account, str], None]] = {
    "instance": _end_instance,
    "volume": _delete_volume,
    "network interface": _delete_interface,
    "launch template": _delete_template,
    "instance profile": _delete_profile,
    "security group": _delete_group,
}
