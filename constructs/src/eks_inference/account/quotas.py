"""Which EC2 quotas a deployment meets, and whether they have room for it.

EC2 counts vCPUs of running instances, by family and way of purchase and by region. A
new account may have none for GPUs, and Karpenter then fails in silence: pods wait.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eks_inference.account.needs import DeploymentNeeds, PoolNeeds
from eks_inference.account.results import Check, Status
from eks_inference.planning.instances import InstanceType


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """A quota of EC2 on vCPUs.

    Args:
        code: Its code in Service Quotas.
        name: Its name there.
        spot: Whether it counts spot instances; it counts on-demand ones otherwise.
        families: Regular expression of the instance types that it counts.
    """

    code: str
    name: str
    spot: bool
    families: str

    def counts(self, instance_type: str) -> bool:
        """Say whether the quota counts an instance type.

        Args:
            instance_type: Name, such as ``g5.xlarge``.
        """
        return re.match(self.families, instance_type) is not None


_G = r"(g|gr|vt)\d"
_STANDARD_FAMILIES = r"(a|c|d|h|i|im|is|m|r|t|z)\d"

STANDARD = Quota(
    code="L-1216C47A",
    name="Running On-Demand Standard instances",
    spot=False,
    families=_STANDARD_FAMILIES,
)
"""The quota of nodes without GPUs; its default is 5 (see ``GPU_QUOTAS``). AWS's name
has the letters of the families too: A, C, D, H, I, M, R, T, Z."""

GPU_QUOTAS = (
    Quota(
        code="L-DB2E81BA",
        name="Running On-Demand G and VT instances",
        spot=False,
        families=_G,
    ),
    Quota(
        code="L-3819A6DF",
        name="All G and VT Spot Instance Requests",
        spot=True,
        families=_G,
    ),
    Quota(
        code="L-417A185B",
        name="Running On-Demand P instances",
        spot=False,
        families=r"p\d",
    ),
    Quota(
        code="L-7212CCBC",
        name="All P4, P3 and P2 Spot Instance Requests",
        spot=True,
        families=r"p[234]",
    ),
    Quota(
        code="L-C4BD4855",
        name="All P5 Spot Instance Requests",
        spot=True,
        families=r"p5",
    ),
)
"""The quotas of GPU nodes, with a default of 0 each.

Source: "Amazon EC2 instance type quotas" in AWS's guide of instance types
(https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html), read
2026-11. It has none for P6 on spot. That gr6 counts as G is assumed from its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A quota in an account.

    Args:
        vcpus: What the account may have.
        used: What others have of it, or None where that is not known.
    """

    vcpus: float
    used: float | None

    @property
    def room(self) -> float:
        """What is left."""
        return max(self.vcpus - (self.used or 0), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a pool asks of one quota.

    Args:
        needs: The pool.
        quota: The quota.
        node: What Karpenter launches first: of each GPU the cheapest instance type
            with room for a replica, and of these the one with most vCPUs.
        smallest: vCPUs of the smallest of these.
        largest: The instance type with most vCPUs that the pool may have.
    """

    needs: PoolNeeds
    quota: Quota
    node: InstanceType
    smallest: int
    largest: InstanceType

    @property
    def vcpus(self) -> int:
        """VCPUs of the whole pool."""
        return self.needs.nodes * self.node.vcpus

    @property
    def arithmetic(self) -> str:
        """How ``vcpus`` comes about."""
        return (
            f"{self.needs.pool.name}: {self.needs.nodes} nodes x {self.node.vcpus} "
            f"vCPUs ({self.node.name}) = {self.vcpus:,}"
        )


def demands(needs: DeploymentNeeds) -> list[Demand]:
    """Return what each pool asks of each quota that it meets.

    Capacity of type ``reserved`` meets none: it was counted when it was reserved.

    Args:
        needs: The deployment.
    """
    return [
        demand
        for pool in needs.pools
        for quota in GPU_QUOTAS
        if (demand := _demand(pool, quota)) is not None
    ]


def _demand(needs: PoolNeeds, quota: Quota) -> Demand | None:
    if ("spot" if quota.spot else "on-demand") not in needs.pool.capacity.types:
        return None
    counted = [item for item in needs.instances if quota.counts(item.name)]
    if not counted:
        return None
    cheapest: dict[object, InstanceType] = {}
    for item in counted:  # by price
        cheapest.setdefault(item.accelerator, item)
    return Demand(
        needs=needs,
        quota=quota,
        node=max(cheapest.values(), key=_vcpus),
        smallest=min(item.vcpus for item in cheapest.values()),
        largest=max(counted, key=_vcpus),
    )


def _vcpus(item: InstanceType) -> int:
    return item.vcpus


def uncounted(needs: DeploymentNeeds) -> list[Check]:
    """Return a warning for each pool whose spot instances have no known quota.

    Args:
        needs: The deployment.
    """
    spot = [quota for quota in GPU_QUOTAS if quota.spot]
    return [
        Check(
            name=f"spot quota of pool {pool.pool.name}",
            status=Status.WARN,
            found=f"AWS lists no spot quota for {', '.join(names)}",
            repair="add 'on-demand' to the pool's capacity, or reserve capacity blocks",
        )
        for pool in needs.pools
        if pool.pool.capacity.uses_spot
        and (
            names := [
                item.name
                for item in pool.instances
                if not any(quota.counts(item.name) for quota in spot)
            ]
        )
    ]


def gpu_checks(
    asked: Sequence[Demand], limits: Mapping[str, Limit | Check], *, region: str
) -> list[Check]:
    """Return one line for each quota that pools meet.

    A quota fails when a pool can start no node: neither under it nor under another of
    its quotas. It warns when there is room for a node, but not for all.

    Args:
        asked: What pools ask.
        limits: Quotas of the account by their codes, or why one is not known.
        region: Region of the account, for the repair.
    """
    checks = []
    for quota in GPU_QUOTAS:
        meets = [item for item in asked if item.quota == quota]
        if not meets:
            continue
        limit = limits[quota.code]
        if isinstance(limit, Check):
            checks.append(limit)
            continue
        stuck = [item.needs for item in meets if _is_stuck(item.needs, asked, limits)]
        checks.append(_gpu_check(quota, meets, limit, stuck=bool(stuck), region=region))
    return checks


def _is_stuck(
    pool: PoolNeeds, asked: Sequence[Demand], limits: Mapping[str, Limit | Check]
) -> bool:
    for item in asked:
        limit = limits[item.quota.code]
        # what is not known cannot be called too small
        if item.needs == pool and (
            isinstance(limit, Check) or limit.room >= item.smallest
        ):
            return False
    return True


def _gpu_check(
    quota: Quota, meets: Sequence[Demand], limit: Limit, *, stuck: bool, region: str
) -> Check:
    wanted = sum(item.vcpus for item in meets)
    most = sum(item.needs.nodes * item.largest.vcpus for item in meets)
    found = f"{'; '.join(item.arithmetic for item in meets)}; {_room(limit)}"
    if limit.room >= wanted:
        if limit.room < most:
            largest = max((item.largest for item in meets), key=_vcpus)
            found += f" (all on the largest types, up to {largest.name}: {most:,})"
        return Check(name=_title(quota), status=Status.PASS, found=found)
    return Check(
        name=_title(quota),
        status=Status.FAIL if stuck else Status.WARN,
        found=found,
        repair=_increase(quota, limit, wanted, region),
    )


def standard_check(running: float, other: float, limit: Limit, *, region: str) -> Check:
    """Return the line of the quota of nodes without GPUs.

    Args:
        running: vCPUs of the nodes that run from the start.
        other: vCPUs that Karpenter's pools without GPUs may add.
        limit: The quota in the account.
        region: Region of the account, for the repair.
    """
    wanted = running + other
    found = f"{running:g} vCPUs from the start"
    if other:
        found += f" + {other:g} that Karpenter may add"
    found += f"; {_room(limit)}"
    if limit.room >= wanted:
        return Check(name=_title(STANDARD), status=Status.PASS, found=found)
    return Check(
        name=_title(STANDARD),
        status=Status.FAIL if limit.room < running else Status.WARN,
        found=found,
        repair=_increase(STANDARD, limit, wanted, region),
    )


def _title(quota: Quota) -> str:
    return f"quota {quota.name}"


def _room(limit: Limit) -> str:
    used = "not known" if limit.used is None else f"{limit.used:g}"
    return f"quota {limit.vcpus:g}, in use {used}, room for {limit.room:g}"


def _increase(quota: Quota, limit: Limit, wanted: float, region: str) -> str:
    return (
        "aws service-quotas request-service-quota-increase --service-code ec2 "
        f"--quota-code {quota.code} --desired-value {(limit.used or 0) + wanted:g} "
        f"--region {region}"
    )
