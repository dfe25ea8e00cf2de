"""Whether an account has what a deployment needs, before it takes half an hour."""

from collections.abc import Iterable
from functools import partial

from eks_inference.account import checks
from eks_inference.account.needs import DeploymentNeeds
from eks_inference.account.quotas import (
    GPU_QUOTAS,
    STANDARD,
    Limit,
    Quota,
    demands,
    gpu_checks,
    standard_check,
    uncounted,
)
from eks_inference.account.results import Check, Status
from eks_inference.account.session import Account, refusals

PREFLIGHT_ACTIONS = (
    "ec2:DescribeAddresses",
    "ec2:DescribeAvailabilityZones",
    "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeInstances",
    "ec2:DescribeVpcs",
    "eks:DescribeClusterVersions",
    "iam:GetRole",
    "servicequotas:GetAWSDefaultServiceQuota",
    "servicequotas:GetServiceQuota",
    "ssm:GetParameter",
    "sts:GetCallerIdentity",
)
"""All that ``preflight`` may do, as IAM calls it; every one of them only reads."""


def preflight(account: Account, needs: DeploymentNeeds) -> list[Check]:
    """Compare an account with what a deployment needs.

    A question that AWS refuses becomes a line of its own; the others are asked all the
    same, unless the credentials themselves are refused.

    Args:
        account: The account, in the region of the deployment.
        needs: The deployment.
    """
    asked, number = checks.credentials(account, needs)
    found = [asked]
    if not number:
        return found
    found.append(
        checks.attempted(
            "CDK bootstrap", lambda: checks.bootstrap(account, needs, number)
        )
    )
    version = needs.kubernetes_version
    if version is not None:
        found.append(
            checks.attempted(
                f"Kubernetes {version}", lambda: checks.kubernetes(account, version)
            )
        )
    found += _offerings(account, needs)
    if needs.uses_spot:
        found.append(
            checks.attempted("role of EC2 Spot", lambda: checks.spot_role(account))
        )
    found += _vcpus(account, needs)
    for wanted, name, check in (
        (needs.vpcs, checks.VPC_QUOTA[2], checks.vpcs),
        (needs.elastic_ips, checks.ADDRESS_QUOTA[2], checks.addresses),
    ):
        if wanted:
            found.append(
                checks.attempted(f"quota {name}", partial(check, account, needs))
            )
    return found


def _offerings(account: Account, needs: DeploymentNeeds) -> list[Check]:
    if not needs.pools:
        return []
    try:
        zones = checks.zones_of(account, needs)
    except refusals() as error:
        return [checks.unknown("availability zones", error)]
    certain = bool(needs.availability_zones) or needs.first_zones is not None
    return [
        checks.attempted(
            f"instance types of pool {pool.pool.name}",
            partial(checks.offerings, account, pool, zones, certain=certain),
        )
        for pool in needs.pools
    ]


def _vcpus(account: Account, needs: DeploymentNeeds) -> list[Check]:
    asked = demands(needs)
    met = [quota for quota in GPU_QUOTAS if any(item.quota == quota for item in asked)]
    standard = [STANDARD] if needs.node_groups or needs.other_vcpus else []
    if not met and not standard:
        return uncounted(needs)
    found = []
    used: dict[Quota, float] | None = None
    try:
        used = checks.used_vcpus(account, needs, [*met, *standard])
    except refusals() as error:
        found.append(checks.unknown("vCPUs in use", error))
    limits = {
        quota.code: checks.quota_or_unknown(account, quota, used)
        for quota in [*met, *standard]
    }
    found += gpu_checks(asked, limits, region=account.region)
    found += uncounted(needs)
    if standard:
        found.append(_standard(account, needs, limits[STANDARD.code]))
    return found


def _standard(account: Account, needs: DeploymentNeeds, limit: Limit | Check) -> Check:
    if isinstance(limit, Check):
        return limit

    def check() -> Check:
        vcpus = checks.vcpus_of(account, (g.instance_type for g in needs.node_groups))
        running = sum(g.count * vcpus[g.instance_type] for g in needs.node_groups)
        return standard_check(running, needs.other_vcpus, limit, region=account.region)

    return checks.attempted(f"quota {STANDARD.name}", check)


def has_failed(found: Iterable[Check]) -> bool:
    """Say whether the deployment would fail.

    Args:
        found: What ``preflight`` has found.
    """
    return any(check.status is Status.FAIL for check in found)
