"""What a snapshot with container images is made with. Everything here only reads.

The method is that of aws-samples/bottlerocket-images-cache (snapshot.sh and README,
read on 2026-11-24): pull the images on an instance, stop it, take a snapshot of its
data volume. Bottlerocket keeps nothing but containerd's data there, so that nodes of
other releases can start from it, too (#20 of that repository).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from eks_inference._check import Problems
from eks_inference.account.image_snapshot import (
    IMAGE_TAG,
    RELEASE_TAG,
    SNAPSHOT_TAG,
    SnapshotRequest,
)
from eks_inference.account.ownership import tags_of
from eks_inference.account.session import (
    Account,
    code_of,
    or_none,
    reason_of,
    refusals,
    repair_of,
)
from eks_inference.manifests.gpu_pool import DISCOVERY_TAG

PLAN_ACTIONS = (
    "cloudformation:ListStackResources",
    "ec2:DescribeInstances",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSnapshots",
    "ec2:DescribeSubnets",
    "eks:DescribeCluster",
    "ssm:GetParameter",
)
"""All that ``image-snapshot`` may do to look, as IAM calls it."""

_AMI = "/aws/service/bottlerocket/aws-k8s-{kubernetes}/x86_64/{release}/image_id"
"""Public parameter with the image of a release. It has no ``v`` before the release,
which Karpenter's alias has (aws/karpenter-provider-aws,
pkg/providers/amifamily/bottlerocket.go)."""

_CLUSTER_STACK = "{cluster}-cluster"
"""Stack of the platform that holds the instance profile of the GPU nodes."""

_ALIVE = ("pending", "running", "stopping", "stopped")
"""States of an instance that has not ended."""

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot that the account has.

    Args:
        name: Its id.
        completed: Whether it is complete; it is still being made otherwise.
    """

    name: str
    completed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPlan:
    """What a snapshot would be made with.

    Args:
        request: What is wanted.
        kubernetes: Version of the cluster.
        ami: Image of the Bottlerocket release for that version.
        subnet: Subnet of the instance.
        security_groups: Security groups of the instance.
        instance_profile: Name of its instance profile.
        existing: Snapshot of this cluster with the same images and release that fits
            the volume, or None.
        left: Instances that an earlier run has not ended, or that one is at work with.
    """

    request: SnapshotRequest
    kubernetes: str
    ami: str
    subnet: str
    security_groups: tuple[str, ...]
    instance_profile: str
    existing: Snapshot | None
    left: tuple[str, ...]


def plan_snapshot(account: Account, request: SnapshotRequest) -> SnapshotPlan:
    """Find what a snapshot would be made with, or the one that exists.

    Args:
        account: The account, in the region of the cluster.
        request: What is wanted.

    Raises:
        ConfigurationError: Something is missing, or AWS does not say; all of it is
            named.
    """
    name = request.owner.cluster
    with Problems() as problems:
        profile = request.instance_profile or _profile_of_stage(
            problems, account, request
        )
        existing = _asked(problems, "snapshots", lambda: _existing(account, request))
        left = _asked(problems, "instances", lambda: _left(account, name))
        cluster = _cluster(problems, account, name)
        if cluster is not None:
            vpc = cluster["resourcesVpcConfig"]
            ami = _ami(problems, account, request.bottlerocket, cluster["version"])
            subnet = _subnet(problems, account, name, vpc["vpcId"])
            groups = _asked(
                problems,
                "security groups",
                lambda: _groups(account, name, vpc["vpcId"]),
            )
    assert cluster
    assert ami
    assert subnet
    assert profile
    return SnapshotPlan(
        request=request,
        kubernetes=cluster["version"],
        ami=ami,
        subnet=subnet,
        # without groups of their own nodes have the cluster's, as the platform's do
        security_groups=groups or (vpc["clusterSecurityGroupId"],),
        instance_profile=profile,
        existing=existing,
        left=left or (),
    )


def _asked(
    problems: Problems, name: str, ask: Callable[[], Found | None]
) -> Found | None:
    """Return what AWS answers, or note why it does not and return None."""
    try:
        return ask()
    except refusals() as error:
        problems.add(
            f"'{name}' must be known, got {reason_of(error)}; {repair_of(error)}"
        )
        return None


def _named(
    problems: Problems,
    name: str,
    ask: Callable[[], Found | None],
    *,
    rule: str,
    repair: str,
) -> Found | None:
    """Return what AWS answers, or note that there is no such thing."""
    before = len(problems.messages)
    found = _asked(problems, name, ask)
    if not found and len(problems.messages) == before:
        problems.add(f"{rule}, got none; {repair}")
    return found


def _cluster(
    problems: Problems, account: Account, name: str
) -> Mapping[str, Any] | None:
    client = account.client("eks")

    def ask() -> Any:
        return or_none(lambda: client.describe_cluster(name=name)["cluster"])

    found: Mapping[str, Any] | None = _named(
        problems,
        "cluster",
        ask,
        rule=f"'cluster' {name!r} must exist in {account.region}",
        repair="the snapshot is made among its nodes; deploy it first",
    )
    if found is not None and found["status"] not in {"ACTIVE", "UPDATING"}:
        problems.broken(
            f"'cluster' {name!r} must be ACTIVE", found["status"], "wait until it is"
        )
        return None
    return found


def _ami(
    problems: Problems, account: Account, release: str, kubernetes: str
) -> str | None:
    client = account.client("ssm")
    name = _AMI.format(kubernetes=kubernetes, release=release)
    found = _named(
        problems,
        "bottlerocket",
        lambda: or_none(lambda: client.get_parameter(Name=name)),
        rule=f"'bottlerocket' {release!r} must have an image for Kubernetes "
        f"{kubernetes} in {account.region}",
        repair=f"aws ssm get-parameter --name {name} must find it",
    )
    return None if found is None else str(found["Parameter"]["Value"])


def _filters(cluster: str, vpc: str) -> list[dict[str, Any]]:
    return [
        {"Name": f"tag:{DISCOVERY_TAG}", "Values": [cluster]},
        {"Name": "vpc-id", "Values": [vpc]},
    ]


def _subnet(problems: Problems, account: Account, cluster: str, vpc: str) -> str | None:
    found = _named(
        problems,
        "subnets",
        lambda: list(
            account.pages(
                "ec2", "describe_subnets", "Subnets", Filters=_filters(cluster, vpc)
            )
        ),
        rule=f"'cluster' {cluster!r} must have a subnet with the tag "
        f"{DISCOVERY_TAG}={cluster} in {vpc}",
        repair="tag those of the nodes, as Karpenter needs it",
    )
    if not found:
        return None
    # the emptiest, and the same one each time
    chosen = min(
        found, key=lambda item: (-item["AvailableIpAddressCount"], item["SubnetId"])
    )
    return str(chosen["SubnetId"])


def _groups(account: Account, cluster: str, vpc: str) -> tuple[str, ...]:
    found = account.pages(
        "ec2",
        "describe_security_groups",
        "SecurityGroups",
        Filters=_filters(cluster, vpc),
    )
    return tuple(sorted(item["GroupId"] for item in found))


def _profile_of_stage(
    problems: Problems, account: Account, request: SnapshotRequest
) -> str | None:
    stack = _CLUSTER_STACK.format(cluster=request.owner.cluster)

    def ask() -> str | None:
        try:
            listed = list(
                account.pages(
                    "cloudformation",
                    "list_stack_resources",
                    "StackResourceSummaries",
                    StackName=stack,
                )
            )
        except refusals() as error:
            # how CloudFormation says that there is no such stack
            if code_of(error) == "ValidationError":
                return None
            raise
        names = [
            str(item["PhysicalResourceId"])
            for item in listed
            if item["ResourceType"] == "AWS::IAM::InstanceProfile"
        ]
        return names[0] if len(names) == 1 else None

    return _named(
        problems,
        "instance_profile",
        ask,
        rule=f"'instance_profile' must be the only one of the stack {stack!r}",
        repair="pass its name with --instance-profile",
    )


def _existing(account: Account, request: SnapshotRequest) -> Snapshot | None:
    listed = account.pages(
        "ec2",
        "describe_snapshots",
        "Snapshots",
        OwnerIds=["self"],
        Filters=[
            {"Name": f"tag:{SNAPSHOT_TAG}", "Values": [request.owner.cluster]},
            {"Name": f"tag:{RELEASE_TAG}", "Values": [request.bottlerocket]},
            # one that is pending was begun when all images had been found
            {"Name": "status", "Values": ["completed", "pending"]},
        ],
    )
    return _usable(listed, request)


def _usable(
    listed: Iterable[Mapping[str, Any]], request: SnapshotRequest
) -> Snapshot | None:
    usable = [
        Snapshot(name=item["SnapshotId"], completed=item["State"] == "completed")
        for item in listed
        # no volume is smaller than the snapshot that it starts from
        if item["VolumeSize"] <= request.volume_gib
        and _images_of(tags_of(item.get("Tags"))) == set(request.names)
    ]
    return min(usable, key=lambda item: (not item.completed, item.name), default=None)


def _images_of(tags: Mapping[str, str]) -> set[str]:
    return {value for key, value in tags.items() if key.startswith(IMAGE_TAG)}


def _left(account: Account, cluster: str) -> tuple[str, ...]:
    listed = account.pages(
        "ec2",
        "describe_instances",
        "Reservations",
        Filters=[
            {"Name": f"tag:{SNAPSHOT_TAG}", "Values": [cluster]},
            {"Name": "instance-state-name", "Values": list(_ALIVE)},
        ],
    )
    return tuple(item["InstanceId"] for page in listed for item in page["Instances"])
