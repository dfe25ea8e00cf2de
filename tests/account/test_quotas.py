"""Tests of the arithmetic of quotas, without AWS."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference import Accelerator, Capacity, ConfigurationError
from eks_inference.account.needs import DeploymentNeeds, PoolNeeds
from eks_inference.account.quotas import (
    GPU_QUOTAS,
    STANDARD,
    Limit,
    demands,
    gpu_checks,
    standard_check,
    uncounted,
)
from eks_inference.account.results import Check, Status
from eks_inference.planning import INSTANCE_TYPES
from tests.account.conftest import deployment, pool_needs

ON_DEMAND, SPOT, P, P4_SPOT, P5_SPOT = (quota.code for quota in GPU_QUOTAS)
UNKNOWN = Check(name="quota", status=Status.WARN, found="not known")


def judged(
    needs: DeploymentNeeds, used: float | None = 0, **vcpus: float
) -> dict[str, Check]:
    """Return the line of each quota, by its code, in an account with some vCPUs."""
    asked = demands(needs)
    met = [quota for quota in GPU_QUOTAS if any(d.quota == quota for d in asked)]
    limits: dict[str, Limit | Check] = {
        quota.code: Limit(
            vcpus=vcpus.get(f"{quota.code}".replace("-", "_"), 0), used=used
        )
        for quota in met
    }
    lines = gpu_checks(asked, limits, region="eu-west-1")
    return {quota.code: line for quota, line in zip(met, lines, strict=True)}


def statuses(lines: dict[str, Check]) -> list[str]:
    """Return how the lines ended, in the order of the quotas."""
    return [line.status.value for line in lines.values()]


def test_every_instance_type_meets_one_on_demand_quota() -> None:
    """Each type that a pool can use is in one quota, and on spot in one or none."""
    for item in INSTANCE_TYPES:
        counted = [quota for quota in GPU_QUOTAS if quota.counts(item.name)]
        assert [quota.spot for quota in counted].count(False) == 1, item.name
        spots = [quota.code for quota in counted if quota.spot]
        assert len(spots) == (0 if item.name.startswith("p6") else 1), item.name


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("m6i.large", True),
        ("im4gn.large", True),
        ("t3.micro", True),
        ("trn1.2xlarge", False),
        ("inf2.xlarge", False),
        ("dl1.24xlarge", False),
        ("hpc6a.48xlarge", False),
        ("mac2.metal", False),
        ("g5.xlarge", False),
    ],
)
def test_standard_counts_its_letters_only(name: str, counted: bool) -> None:
    """Families whose name merely begins with a letter of Standard are not counted."""
    assert STANDARD.counts(name) is counted


def test_arithmetic_is_shown() -> None:
    """Nodes times the vCPUs of what Karpenter takes first, and what room there is."""
    line = judged(deployment(pool_needs()), used=8, L_DB2E81BA=64, L_3819A6DF=64)
    assert line[ON_DEMAND].found == (
        "gpu-24: 11 nodes x 4 vCPUs (g6.xlarge) = 44; quota 64, in use 8, room for 56 "
        "(all on the largest types, up to g6.16xlarge: 704)"
    )
    assert line[ON_DEMAND].repair == ""
    assert statuses(line) == ["pass", "pass"]


def test_replica_decides_the_smallest_node() -> None:
    """A replica that needs 24 GiB takes 2xlarge, with twice the vCPUs."""
    line = judged(deployment(pool_needs(cpu=3, memory_mib=24 * 1024)), L_DB2E81BA=80)
    assert "11 nodes x 8 vCPUs (g6.2xlarge) = 88" in line[ON_DEMAND].found
    assert line[ON_DEMAND].status is Status.WARN
    assert line[ON_DEMAND].repair == (
        "aws service-quotas request-service-quota-increase --service-code ec2 "
        "--quota-code L-DB2E81BA --desired-value 88 --region eu-west-1"
    )


def test_repair_asks_for_what_others_use_too() -> None:
    """The value to request is that of the pool and of what already runs."""
    line = judged(deployment(pool_needs()), used=20, L_DB2E81BA=40)
    assert "--desired-value 64 " in line[ON_DEMAND].repair


def test_node_with_most_vcpus_counts() -> None:
    """Of two GPUs with cheapest nodes of 4 and 8 vCPUs, 8 are counted."""
    both = (Accelerator.L4, Accelerator.RTX_PRO_6000)
    (demand, _) = demands(deployment(pool_needs(accelerators=both)))
    assert (demand.node.name, demand.smallest) == ("g7e.2xlarge", 4)


@pytest.mark.parametrize(
    ("on_demand", "spot", "expected"),
    [
        (44, 44, ["pass", "pass"]),
        (0, 44, ["warn", "pass"]),
        (44, 0, ["pass", "warn"]),
        (4, 0, ["warn", "warn"]),
        (3, 3, ["fail", "fail"]),
        (0, 0, ["fail", "fail"]),
    ],
)
def test_pool_with_two_ways_fails_when_both_are_shut(
    on_demand: float, spot: float, expected: list[str]
) -> None:
    """Spot with fallback starts while one quota has room for a node."""
    line = judged(deployment(pool_needs()), L_DB2E81BA=on_demand, L_3819A6DF=spot)
    assert statuses(line) == expected


def test_pools_share_a_quota() -> None:
    """What two pools ask of one quota is added."""
    only = Capacity.on_demand()
    needs = deployment(
        pool_needs(capacity=only, max_gpus=3),
        pool_needs(name="big", capacity=only, accelerators=(Accelerator.L40S,)),
    )
    line = judged(needs, L_DB2E81BA=55)
    assert (
        "gpu-24: 3 nodes x 4 vCPUs (g6.xlarge) = 12; big: 11 nodes x 4 vCPUs "
        "(g6e.xlarge) = 44; quota 55" in line[ON_DEMAND].found
    )
    assert line[ON_DEMAND].status is Status.WARN
    assert "--desired-value 56 " in line[ON_DEMAND].repair


def test_pool_that_is_stuck_fails_beside_one_that_is_not() -> None:
    """Room for one pool's node does not hide that another pool's has none."""
    only = Capacity.on_demand()
    needs = deployment(
        pool_needs(capacity=only, max_gpus=1),
        pool_needs(name="big", capacity=only, gpus_per_node=8, max_gpus=8),
    )
    assert statuses(judged(needs, L_DB2E81BA=8)) == ["fail"]


def test_p_families_have_quotas_of_their_own() -> None:
    """A100 and H100 share the quota on demand and not that of spot."""
    a100 = pool_needs(
        accelerators=(Accelerator.A100_40G,), gpus_per_node=8, max_gpus=16
    )
    h100 = pool_needs(name="h", accelerators=(Accelerator.H100,), max_gpus=2)
    line = judged(deployment(a100, h100), L_417A185B=1000)
    assert list(line) == [P, P4_SPOT, P5_SPOT]
    assert "2 nodes x 96 vCPUs (p4d.24xlarge) = 192" in line[P4_SPOT].found
    assert "2 nodes x 16 vCPUs (p5.4xlarge) = 32" in line[P5_SPOT].found


def test_spot_without_a_quota_is_said() -> None:
    """AWS lists no spot quota of P6, so a warning says that nothing was compared."""
    b200 = pool_needs(
        name="b", accelerators=(Accelerator.B200,), gpus_per_node=8, max_gpus=8
    )
    [line] = uncounted(deployment(pool_needs(), b200))
    assert line.status is Status.WARN
    assert line.found == "AWS lists no spot quota for p6-b200.48xlarge"


def test_reserved_capacity_meets_no_quota() -> None:
    """A reservation was counted when it was made."""
    assert demands(deployment(pool_needs(capacity=Capacity(("reserved",))))) == []


def test_unknown_quota_stops_nothing() -> None:
    """A quota that cannot be read is its own line, and the other only warns."""
    asked = demands(deployment(pool_needs()))
    limits: dict[str, Limit | Check] = {
        ON_DEMAND: UNKNOWN,
        SPOT: Limit(vcpus=0, used=0),
    }
    first, second = gpu_checks(asked, limits, region="eu-west-1")
    assert first is UNKNOWN
    assert second.status is Status.WARN


def test_unknown_use_is_said() -> None:
    """Where one cannot see what runs, the line does not claim that nothing does."""
    line = judged(deployment(pool_needs()), used=None, L_DB2E81BA=44, L_3819A6DF=44)
    assert "quota 44, in use not known, room for 44" in line[ON_DEMAND].found


@pytest.mark.parametrize(
    ("vcpus", "status"), [(36, "pass"), (35, "warn"), (4, "warn"), (3, "fail")]
)
def test_standard_must_hold_what_runs_from_the_start(vcpus: float, status: str) -> None:
    """The controllers' nodes are needed, what Karpenter may add is wished for."""
    line = standard_check(4, 32, Limit(vcpus=vcpus, used=0), region="eu-west-1")
    assert line.status.value == status
    assert "4 vCPUs from the start + 32 that Karpenter may add" in line.found


@given(
    on_demand=st.integers(0, 2_000),
    spot=st.integers(0, 2_000),
    more=st.integers(0, 500),
    used=st.integers(0, 500),
    gpus=st.integers(1, 40),
)
def test_more_room_is_never_worse(
    on_demand: int, spot: int, more: int, used: int, gpus: int
) -> None:
    """A raised quota makes no line worse, and a pool that fits passes."""
    needs = deployment(pool_needs(max_gpus=gpus))
    order = [Status.FAIL, Status.WARN, Status.PASS]
    before = judged(needs, used, L_DB2E81BA=on_demand, L_3819A6DF=spot)
    after = judged(needs, used, L_DB2E81BA=on_demand + more, L_3819A6DF=spot)
    for code, line in before.items():
        assert order.index(line.status) <= order.index(after[code].status)
        room = {ON_DEMAND: on_demand, SPOT: spot}[code] - used
        assert (line.status is Status.PASS) == (room >= 4 * gpus)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"memory_mib": 10_000_000},
            (
                "pool 'gpu-24': 'accelerators' must have an instance type with room "
                "for a replica, got 0 CPUs and 10,000,000 MiB; request less, or use "
                "other GPUs"
            ),
        ),
        ({"cpu": float("nan")}, "'cpu' must be at least 0, got nan"),
        ({"cpu": None}, "'cpu' must be a number, got None"),
        ({"memory_mib": -1}, "'memory_mib' must be at least 0, got -1"),
    ],
)
def test_fails_when_no_node_can_hold_a_replica(
    values: dict[str, float], message: str
) -> None:
    """A replica that no instance type can hold is refused, and so is nonsense."""
    with pytest.raises(ConfigurationError) as error:
        pool_needs(**values)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"pools": (pool_needs(), pool_needs())},
            (
                "'pools' must not name anything twice, got 'gpu-24'; give each "
                "pool its own name"
            ),
        ),
        (
            {"kubernetes_version": "latest"},
            (
                "'kubernetes_version' must be a version of Kubernetes, got 'latest'; "
                "for example '1.35'"
            ),
        ),
        (
            {"availability_zones": ("us-east-1",)},
            (
                "'availability_zones' must be names of availability zones, got "
                "'us-east-1'; for example 'us-east-1a'"
            ),
        ),
        ({"first_zones": 0}, "'first_zones' must be at least 1, got 0"),
    ],
)
def test_fails_when_needs_contradict_a_rule(
    values: dict[str, tuple[PoolNeeds, ...]], message: str
) -> None:
    """Needs that cannot be meant are refused with the value and the repair."""
    with pytest.raises(ConfigurationError) as error:
        DeploymentNeeds(**values)  # type: ignore[arg-type]
    assert str(error.value) == message
