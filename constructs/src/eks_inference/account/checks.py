"""The checks of ``preflight``, one question to AWS after the other; all only read."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from eks_inference.account.needs import DeploymentNeeds, PoolNeeds
from eks_inference.account.quotas import Limit, Quota
from eks_inference.account.results import Check, Status
from eks_inference.account.session import (
    Account,
    or_none,
    reason_of,
    refusals,
    repair_of,
)
from eks_inference.planning.instances import INSTANCE_TYPES

SPOT_ROLE = "AWSServiceRoleForEC2Spot"
"""Service-linked role of EC2 Spot (EC2 User Guide, "Service-linked role for EC2 Spot
Instance requests"). Without it the first spot launch fails, unless the launcher may
make it, and Karpenter may not."""

VPC_QUOTA = ("vpc", "L-F678F1CE", "VPCs per Region")
"""Service, code and name (Service Quotas; also in getmoto/moto 5.2.5,
moto/servicequotas/resources/default_quotas/vpc.py)."""

ADDRESS_QUOTA = ("ec2", "L-0263D0A3", "EC2-VPC Elastic IPs")
"""Likewise (Service Quotas, Amazon EC2)."""

_RUNNING = ("pending", "running")
"""States of an instance that quotas count (EC2 User Guide, "On-Demand Instance
quotas": running instances; one that starts is counted with them)."""

_STACK_TAG = "aws:cloudformation:stack-name"
_CLUSTER_TAGS = ("eks:eks-cluster-name", "eks:cluster-name")
"""Tags with the name of the cluster that Karpenter, and EKS, set on their instances."""

_KNOWN_VCPUS = {item.name: item.vcpus for item in INSTANCE_TYPES}

_MOST_NAMES = 100
"""Instance types that one question to EC2 may name (API reference,
DescribeInstanceTypes)."""


def attempted(name: str, check: Callable[[], Check]) -> Check:
    """Return what a check finds, or a warning that AWS did not answer it.

    Args:
        name: What is looked at.
        check: Asks AWS.
    """
    try:
        return check()
    except refusals() as error:
        return unknown(name, error)


def unknown(name: str, error: Exception) -> Check:
    """Return the line of a question that AWS has refused.

    Args:
        name: What was looked at.
        error: The refusal.
    """
    return Check(
        name=name,
        status=Status.WARN,
        found=f"not known: {reason_of(error)}",
        repair=repair_of(error),
    )


def credentials(account: Account, needs: DeploymentNeeds) -> tuple[Check, str]:
    """Say who asks, and whether that is the account and region of the stacks.

    Args:
        account: The account.
        needs: The deployment.

    Returns:
        The line, and the number of the account, which is empty where it is not known.
    """
    name = "credentials"
    try:
        number, arn = account.identity()
    except refusals() as error:
        reason, repair = reason_of(error), repair_of(error)
        return Check(name=name, status=Status.FAIL, found=reason, repair=repair), ""
    wrong = [
        f"the stacks are bound to {what} {', '.join(bound)}"
        for what, bound, own in (
            ("account", needs.accounts, number),
            ("region", needs.regions, account.region),
        )
        if bound and bound != (own,)
    ]
    check = Check(
        name=name,
        status=Status.FAIL if wrong else Status.PASS,
        found="; ".join([f"{arn} in account {number}, {account.region}", *wrong]),
        repair="pass --profile or --region, or synthesize for them" if wrong else "",
    )
    return check, number


def bootstrap(account: Account, needs: DeploymentNeeds, number: str) -> Check:
    """Say whether CDK can deploy to the account.

    Args:
        account: The account.
        needs: The deployment.
        number: Number of the account, for the repair.
    """
    parameter, least = needs.bootstrap
    answer = or_none(lambda: account.client("ssm").get_parameter(Name=parameter))
    version = answer["Parameter"]["Value"] if answer else None
    enough = version is not None and version.isdigit() and int(version) >= least
    if version is None:
        found = f"no parameter {parameter}; the stacks need version {least}"
    else:
        found = f"version {version} in {parameter}; the stacks need {least}"
    return Check(
        name="CDK bootstrap",
        status=Status.PASS if enough else Status.FAIL,
        found=found,
        repair="" if enough else f"cdk bootstrap aws://{number}/{account.region}",
    )


def spot_role(account: Account) -> Check:
    """Say whether EC2 can buy spot instances for the account.

    Args:
        account: The account.
    """
    answer = or_none(lambda: account.client("iam").get_role(RoleName=SPOT_ROLE))
    name = "role of EC2 Spot"
    if answer is not None:
        return Check(name=name, status=Status.PASS, found=answer["Role"]["Arn"])
    return Check(
        name=name,
        status=Status.FAIL,
        found=f"no role {SPOT_ROLE}, so that no spot instance can start",
        repair="aws iam create-service-linked-role "
        "--aws-service-name spot.amazonaws.com",
    )


_SUPPORT = {
    "STANDARD_SUPPORT": (Status.PASS, "standard support", "endOfStandardSupportDate"),
    "EXTENDED_SUPPORT": (
        Status.WARN,
        "extended support, which EKS charges more for",
        "endOfExtendedSupportDate",
    ),
}


def kubernetes(account: Account, version: str) -> Check:
    """Say whether EKS makes clusters of a version, and until when it supports it.

    Args:
        account: The account.
        version: Version of Kubernetes.
    """
    found = list(
        account.pages(
            "eks",
            "describe_cluster_versions",
            "clusterVersions",
            clusterVersions=[version],
        )
    )
    name = f"Kubernetes {version}"
    support = found[0].get("versionStatus", "") if found else ""
    if support not in _SUPPORT:
        return Check(
            name=name,
            status=Status.FAIL,
            found="EKS does not support it" if found else "EKS does not know it",
            repair="choose a version of 'aws eks describe-cluster-versions'",
        )
    status, text, end = _SUPPORT[support]
    until = found[0].get(end)
    return Check(
        name=name,
        status=status,
        found=text + (f" until {until:%Y-%m-%d}" if until else ""),
        repair="" if status is Status.PASS else "choose a newer version",
    )


def zones_of(account: Account, needs: DeploymentNeeds) -> tuple[str, ...]:
    """Return the zones that nodes may be in.

    Args:
        account: The account.
        needs: The deployment.
    """
    if needs.availability_zones:
        return needs.availability_zones
    answer = account.client("ec2").describe_availability_zones(
        Filters=[
            {"Name": "zone-type", "Values": ["availability-zone"]},
            {"Name": "state", "Values": ["available"]},
        ]
    )
    names = sorted(item["ZoneName"] for item in answer["AvailabilityZones"])
    return tuple(names[: needs.first_zones])


def offerings(
    account: Account, pool: PoolNeeds, zones: Sequence[str], *, certain: bool
) -> Check:
    """Say in which zones EC2 offers an instance type of a pool.

    Args:
        account: The account.
        pool: The pool.
        zones: Zones that nodes may be in.
        certain: Whether the nodes will be in all of these zones, so that each must
            have an instance type.
    """
    types = [item.name for item in pool.instances]
    offered: dict[str, set[str]] = {zone: set() for zone in zones}
    for item in account.pages(
        "ec2",
        "describe_instance_type_offerings",
        "InstanceTypeOfferings",
        LocationType="availability-zone",
        Filters=[{"Name": "instance-type", "Values": types}],
    ):
        offered.setdefault(item["Location"], set()).add(item["InstanceType"])
    some = [
        f"{zone}: {there[0]}"
        + (f" and {len(there) - 1} more" if len(there) > 1 else "")
        for zone in zones
        if (there := [name for name in types if name in offered[zone]])
    ]
    without = [zone for zone in zones if not offered[zone]]
    name = f"instance types of pool {pool.pool.name}"
    if not some:
        return Check(
            name=name,
            status=Status.FAIL,
            found=f"none of {', '.join(types)} in {', '.join(zones) or 'any zone'}",
            repair="use other accelerators, zones or another region",
        )
    return Check(
        name=name,
        status=Status.WARN if without and certain else Status.PASS,
        found="; ".join(some) + (f"; none in {', '.join(without)}" if without else ""),
        repair="name zones that have them, or add accelerators"
        if without and certain
        else "",
    )


def limit_of(account: Account, service: str, code: str) -> float:
    """Return a quota of the account.

    Args:
        account: The account.
        service: Code of the service.
        code: Code of the quota.
    """
    client = account.client("service-quotas")
    name = {"ServiceCode": service, "QuotaCode": code}
    answer = or_none(lambda: client.get_service_quota(**name))
    # nothing has been applied to the account, so that the default holds
    answer = answer or client.get_aws_default_service_quota(**name)
    return float(answer["Quota"]["Value"])


def quota_or_unknown(
    account: Account, quota: Quota, used: Mapping[Quota, float] | None
) -> Limit | Check:
    """Return a quota on vCPUs, or why it is not known.

    Args:
        account: The account.
        quota: The quota.
        used: vCPUs of others by quota, or None where they are not known.
    """
    try:
        vcpus = limit_of(account, "ec2", quota.code)
    except refusals() as error:
        return unknown(f"quota {quota.name}", error)
    return Limit(vcpus=vcpus, used=None if used is None else used[quota])


def used_vcpus(
    account: Account, needs: DeploymentNeeds, quotas: Iterable[Quota]
) -> dict[Quota, float]:
    """Return the vCPUs that others use of each quota.

    Nodes of the deployment's own clusters are left out: they are what it needs.

    Args:
        account: The account.
        needs: The deployment.
        quotas: Quotas on vCPUs.
    """
    running = [
        (item["InstanceType"], item.get("InstanceLifecycle") == "spot")
        for reservation in account.pages(
            "ec2",
            "describe_instances",
            "Reservations",
            Filters=[{"Name": "instance-state-name", "Values": list(_RUNNING)}],
        )
        for item in reservation["Instances"]
        if not _is_own(item.get("Tags", []), needs)
    ]
    vcpus = vcpus_of(account, {name for name, _ in running})
    return {
        quota: sum(
            vcpus[name]
            for name, spot in running
            if spot == quota.spot and quota.counts(name)
        )
        for quota in quotas
    }


def vcpus_of(account: Account, types: Iterable[str]) -> dict[str, int]:
    """Return the vCPUs of instance types, which EC2 is asked for where it must be.

    Args:
        account: The account.
        types: Names of instance types.
    """
    missing = sorted(set(types) - set(_KNOWN_VCPUS))
    known = dict(_KNOWN_VCPUS)
    for start in range(0, len(missing), _MOST_NAMES):
        for item in account.pages(
            "ec2",
            "describe_instance_types",
            "InstanceTypes",
            InstanceTypes=missing[start : start + _MOST_NAMES],
        ):
            known[item["InstanceType"]] = item["VCpuInfo"]["DefaultVCpus"]
    return known


def vpcs(account: Account, needs: DeploymentNeeds) -> Check:
    """Say whether another VPC is to be had.

    Args:
        account: The account.
        needs: The deployment.
    """
    there = account.pages("ec2", "describe_vpcs", "Vpcs")
    return _count(account, needs, VPC_QUOTA, wanted=needs.vpcs, there=there)


def addresses(account: Account, needs: DeploymentNeeds) -> Check:
    """Say whether the NAT gateways can have addresses.

    Args:
        account: The account.
        needs: The deployment.
    """
    there = account.client("ec2").describe_addresses()["Addresses"]
    return _count(account, needs, ADDRESS_QUOTA, wanted=needs.elastic_ips, there=there)


def _count(
    account: Account,
    needs: DeploymentNeeds,
    quota: tuple[str, str, str],
    *,
    wanted: int,
    there: Iterable[Mapping[str, Any]],
) -> Check:
    service, code, name = quota
    used = sum(not _is_own(item.get("Tags", []), needs) for item in there)
    limit = limit_of(account, service, code)
    enough = used + wanted <= limit
    return Check(
        name=f"quota {name}",
        status=Status.PASS if enough else Status.FAIL,
        found=f"{wanted} wanted; quota {limit:g}, in use {used}, room for "
        f"{max(limit - used, 0):g}",
        repair=""
        if enough
        else "aws service-quotas request-service-quota-increase --service-code "
        f"{service} --quota-code {code} --desired-value {used + wanted} "
        f"--region {account.region}",
    )


def _is_own(tags: Iterable[Mapping[str, str]], needs: DeploymentNeeds) -> bool:
    values = {tag["Key"]: tag["Value"] for tag in tags}
    return values.get(_STACK_TAG) in needs.stacks or any(
        values.get(key) in needs.clusters for key in _CLUSTER_TAGS
    )
