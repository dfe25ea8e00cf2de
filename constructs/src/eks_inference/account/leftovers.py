"""What is left of a cluster that is gone. Everything here only reads."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from eks_inference.account.ownership import (
    REGION_TAG,
    STACK_TAG,
    Owner,
    tags_of,
)
from eks_inference.account.session import Account

KINDS = {
    "instance": "aws ec2 terminate-instances --instance-ids {name}",
    "volume": "aws ec2 delete-volume --volume-id {name}",
    "network interface": (
        "aws ec2 delete-network-interface --network-interface-id {name}"
    ),
    "launch template": "aws ec2 delete-launch-template --launch-template-id {name}",
    "instance profile": (
        "aws iam delete-instance-profile --instance-profile-name {name}"
    ),
    "security group": "aws ec2 delete-security-group --group-id {name}",
}
"""What ``sweep`` can delete, and how a person would, in the order of deletion.

An instance holds its volumes, network interfaces and instance profile; a network
interface holds its security groups."""

_LOG_PREFIX = "/aws/eks/{cluster}/"
"""Log groups of a cluster's control plane. EKS makes them again for its last lines,
without a tag, when CloudFormation has deleted them."""

_PROFILE_PATH = "/karpenter/{region}/{cluster}/"
"""Path of the instance profiles that Karpenter makes (aws/karpenter-provider-aws,
pkg/providers/instanceprofile/instanceprofile.go)."""

_KEPT = {
    "ec2:snapshot": "aws ec2 delete-snapshot --snapshot-id {name}",
    "ecr:repository": "aws ecr delete-repository --force --repository-name {name}",
    "elasticfilesystem:file-system": (
        "aws efs delete-file-system --file-system-id {name}"
    ),
    "elasticloadbalancing:loadbalancer": (
        "aws elbv2 delete-load-balancer --load-balancer-arn {arn}"
    ),
    "kms:key": "aws kms schedule-key-deletion --key-id {name}",
    "logs:log-group": "aws logs delete-log-group --log-group-name {name}",
    "s3:bucket": "aws s3 rb --force s3://{name}",
}
"""How a person would delete what ``sweep`` never does, by the start of its ARN."""

_OF_SWEEP = (
    "ec2:instance",
    "ec2:launch-template",
    "ec2:network-interface",
    "ec2:security-group",
    "ec2:volume",
    "iam:instance-profile",
)
"""What the tagging service lists too, also some time after it has been deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """Something that belongs to the cluster.

    Args:
        kind: One of ``KINDS``, or the start of an ARN where it is kept.
        name: How its service calls it.
        reason: Tag, or name, by which it belongs to the cluster.
        detail: State and size, for people. Default: nothing.
        command: How a person would delete it. Default: not known.
        stack: Stack of CloudFormation that made it. Default: none.
    """

    kind: str
    name: str
    reason: str
    detail: str = ""
    command: str = ""
    stack: str | None = None


Finder = Callable[[Account, Owner], Iterator[Leftover]]


def _instances(account: Account, owner: Owner) -> Iterator[Leftover]:
    for reservation in account.pages("ec2", "describe_instances", "Reservations"):
        for item in reservation["Instances"]:
            state = item["State"]["Name"]
            if state != "terminated":
                detail = f"{item['InstanceType']}, {state}"
                yield from _mine(
                    owner, "instance", item["InstanceId"], item.get("Tags"), detail
                )


def _volumes(account: Account, owner: Owner) -> Iterator[Leftover]:
    for item in account.pages("ec2", "describe_volumes", "Volumes"):
        tags = tags_of(item.get("Tags"))
        detail = f"{item['Size']} GiB, {item['State']}"
        # what the EBS CSI driver says of the claim that it made the volume for
        if claim := tags.get("kubernetes.io/created-for/pvc/name"):
            namespace = tags.get("kubernetes.io/created-for/pvc/namespace", "")
            detail += f", data of the claim {namespace}/{claim}"
        yield from _mine(owner, "volume", item["VolumeId"], item.get("Tags"), detail)


def _interfaces(account: Account, owner: Owner) -> Iterator[Leftover]:
    listed = account.pages("ec2", "describe_network_interfaces", "NetworkInterfaces")
    for item in listed:
        yield from _mine(
            owner,
            "network interface",
            item["NetworkInterfaceId"],
            item.get("TagSet"),
            f"{item.get('Description') or 'without description'}, {item['Status']}",
        )


def _templates(account: Account, owner: Owner) -> Iterator[Leftover]:
    for item in account.pages("ec2", "describe_launch_templates", "LaunchTemplates"):
        yield from _mine(
            owner,
            "launch template",
            item["LaunchTemplateId"],
            item.get("Tags"),
            item["LaunchTemplateName"],
        )


def _profiles(account: Account, owner: Owner) -> Iterator[Leftover]:
    path = _PROFILE_PATH.format(region=account.region, cluster=owner.cluster)
    listed = account.pages(
        "iam", "list_instance_profiles", "InstanceProfiles", PathPrefix=path
    )
    for item in listed:
        if not item["Path"].startswith(path):
            continue
        name = item["InstanceProfileName"]
        # a list of profiles has no tags
        asked = account.client("iam").get_instance_profile(InstanceProfileName=name)
        tags = asked["InstanceProfile"].get("Tags")
        # IAM is one for all regions, and a name may be a cluster's in each
        if tags_of(tags).get(REGION_TAG, account.region) == account.region:
            yield from _mine(owner, "instance profile", name, tags, path)


def _groups(account: Account, owner: Owner) -> Iterator[Leftover]:
    for item in account.pages("ec2", "describe_security_groups", "SecurityGroups"):
        yield from _mine(
            owner,
            "security group",
            item["GroupId"],
            item.get("Tags"),
            item["GroupName"],
        )


FINDERS: dict[str, Finder] = {
    "instance": _instances,
    "volume": _volumes,
    "network interface": _interfaces,
    "launch template": _templates,
    "instance profile": _profiles,
    "security group": _groups,
}
"""How what is left is found, by its kind, in the order of ``KINDS``."""


def _mine(
    owner: Owner,
    kind: str,
    name: str,
    listed: Iterable[Mapping[str, str]] | None,
    detail: str,
) -> Iterator[Leftover]:
    tags = tags_of(listed)
    if (reason := owner.reason(tags)) is not None:
        yield Leftover(
            kind=kind,
            name=name,
            reason=reason,
            detail=detail,
            command=KINDS[kind].format(name=name),
            stack=tags.get(STACK_TAG),
        )


def tagged(account: Account, owner: Owner) -> Iterator[Leftover]:
    """Yield what carries a tag of the cluster and is of no kind that is deleted.

    Args:
        account: The account.
        owner: The cluster.
    """
    seen = set()
    for key, value in owner.tags.items():
        for item in account.pages(
            "resourcegroupstaggingapi",
            "get_resources",
            "ResourceTagMappingList",
            TagFilters=[{"Key": key, "Values": [value]}],
        ):
            arn, tags = item["ResourceARN"], tags_of(item.get("Tags"))
            kind, name = _parts(arn)
            reason = owner.reason(tags)
            if arn in seen or kind in _OF_SWEEP or reason is None:
                continue
            seen.add(arn)
            yield Leftover(
                kind=kind,
                name=name,
                reason=reason,
                command=_KEPT.get(kind, "").format(name=name, arn=arn),
                stack=tags.get(STACK_TAG),
            )


def log_groups(account: Account, owner: Owner) -> Iterator[Leftover]:
    """Yield the logs of the control plane, which may carry no tag.

    Args:
        account: The account.
        owner: The cluster.
    """
    prefix = _LOG_PREFIX.format(cluster=owner.cluster)
    listed = account.pages(
        "logs", "describe_log_groups", "logGroups", logGroupNamePrefix=prefix
    )
    for item in listed:
        name = item["logGroupName"]
        yield Leftover(
            kind="logs:log-group",
            name=name,
            reason=f"its name starts with {prefix}",
            command=_KEPT["logs:log-group"].format(name=name),
        )


def _parts(arn: str) -> tuple[str, str]:
    """Return service and kind, and the name, of an ARN."""
    _, _, service, _, _, resource = arn.split(":", 5)
    kind, separator, name = resource.partition("/")
    if ":" in kind:  # a log group's, whose name has slashes of its own
        kind, _, name = resource.partition(":")
        return f"{service}:{kind}", name.removesuffix(":*")
    if not separator:  # a bucket's is its name alone
        return ("s3:bucket" if service == "s3" else service), resource
    return f"{service}:{kind}", name


def existing_stacks(account: Account) -> dict[str, dict[str, Any]]:
    """Return the stacks of the region that have not been deleted, by name.

    Args:
        account: The account.
    """
    listed = account.pages("cloudformation", "describe_stacks", "Stacks")
    return {
        item["StackName"]: {
            "status": item["StackStatus"],
            "tags": tags_of(item.get("Tags")),
        }
        for item in listed
    }
