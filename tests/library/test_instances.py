"""Tests of the instance types that a pool can launch, and of their prices."""

import csv
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference import Accelerator, ConfigurationError
from eks_inference.planning.instances import (
    INSTANCE_TYPES,
    LEFT_OUT,
    PRICES_DATE,
    PRICES_REGION,
    InstanceType,
    Prices,
    instance,
    instances_with,
)
from tests.library.conftest import recorded_data
from tools.instances import BURSTS, TABLE, main, table

UNKNOWN = "must name an EC2 instance type that a pool can use, got"
MAPPING = "prices: 'usd_per_hour' must be a mapping of instance types to prices, got"
PRICE = "must be a number above 0 and at most 10000, got"

ACCELERATORS = st.sets(st.sampled_from(list(Accelerator)))

BAD_PRICES: list[tuple[Mapping[str, Any], list[str]]] = [
    (
        {"usd_per_hour": {"g5.xlrge": 1.0}},
        [
            (
                f"prices: 'usd_per_hour' {UNKNOWN} 'g5.xlrge'; "
                "did you mean 'g5.xlarge' or 'g5g.xlarge' or 'g5.8xlarge'?"
            )
        ],
    ),
    (
        {"usd_per_hour": {"g6.xlarge": 0, "g6f.large": "1"}, "spot_ratio": 1.01},
        [
            f"prices: 'usd_per_hour' of g6.xlarge {PRICE} 0",
            (
                f"prices: 'usd_per_hour' {UNKNOWN} 'g6f.large'; it has a fraction of a "
                "GPU, for which Karpenter advertises none"
            ),
            f"prices: 'usd_per_hour' of g6f.large {PRICE} '1'",
            "prices: 'spot_ratio' must be a number above 0 and at most 1, got 1.01",
        ],
    ),
    (
        {"usd_per_hour": [("g5.xlarge", 1.0)]},
        [
            f"{MAPPING} [('g5.xlarge', 1.0)]; for example {{'g5.xlarge': 1.006}}",
        ],
    ),
    (
        {"usd_per_hour": None, "spot_ratio": "0.3"},
        [
            f"{MAPPING} None; for example {{'g5.xlarge': 1.006}}",
            "prices: 'spot_ratio' must be a number above 0 and at most 1, got '0.3'",
        ],
    ),
    (
        {"usd_per_hour": {7: 1.0}},
        [
            (
                f"prices: 'usd_per_hour' {UNKNOWN} 7; 'g5.xlarge' is one; "
                "INSTANCE_TYPES lists all"
            )
        ],
    ),
]


@pytest.mark.parametrize("item", Accelerator)
def test_facts_of_a_gpu_agree_with_its_instance_types(item: Accelerator) -> None:
    """Counts and NVMe that a GPU states are those of its instance types."""
    found = [entry for entry in INSTANCE_TYPES if entry.accelerator is item]
    assert {entry.gpus for entry in found} == set(item.counts)
    assert all(entry.nvme_gb > 0 for entry in found) == item.has_local_nvme


def test_every_instance_type_can_be_used_and_stands_once() -> None:
    """The table has no name twice, no bare metal and nothing that is left out."""
    names = [item.name for item in INSTANCE_TYPES]
    assert len(set(names)) == len(names)
    assert not [name for name in names if name.endswith(".metal")]
    assert not set(names) & set(LEFT_OUT)


@pytest.mark.parametrize("item", INSTANCE_TYPES, ids=lambda item: item.name)
def test_an_instance_type_is_plausible(item: InstanceType) -> None:
    """Pods get less than there is, and no burst is below what is always there."""
    assert 0 < item.allocatable_cpu < item.vcpus
    assert 0 < item.allocatable_memory_mib < item.memory_mib
    assert 0 < item.network_mbps <= item.network_burst_mbps
    assert 0 < item.ebs_baseline_mbps <= item.ebs_mbps
    assert item.usd_per_hour is None or item.usd_per_hour > 0


def test_every_row_of_the_data_is_used_or_has_a_reason() -> None:
    """AMD, fractions, bare metal and old GPUs are left out, and nothing else."""
    with recorded_data("gpu_instances.csv").open(newline="") as file:
        rows = {row["instance_type"]: row for row in csv.DictReader(file)}
    used = {item.name for item in INSTANCE_TYPES}
    assert used | set(LEFT_OUT) == set(rows)
    for name, reason in LEFT_OUT.items():
        row = rows[name]
        holds = {
            "its GPU is not made by NVIDIA": row["gpu_manufacturer"] == "amd",
            "it has a fraction of a GPU, for which Karpenter advertises none": (
                row["gpu_count"] == "0"
            ),
            "it is bare metal": name.endswith("metal"),
            "its GPU has compute capability 7.0, and vLLM needs 7.5": (
                row["gpu_name"] == "v100"
            ),
        }
        assert holds[reason], name
    assert Counter(LEFT_OUT.values()).most_common() == [
        ("its GPU is not made by NVIDIA", 5),
        ("it has a fraction of a GPU, for which Karpenter advertises none", 5),
        ("it is bare metal", 2),
        ("its GPU has compute capability 7.0, and vLLM needs 7.5", 1),
    ]


def test_the_table_is_what_the_data_gives() -> None:
    """Nobody has edited the generated module, and the data has not changed."""
    path = recorded_data("gpu_instances.csv")
    assert table(path) == TABLE.read_text()
    assert main([str(path), "--check"]) is None


def test_facts_equal_the_data() -> None:
    """A type has the GPU, memory, CPU architecture and numbers of its row."""
    with recorded_data("gpu_instances.csv").open(newline="") as file:
        rows = {row["instance_type"]: row for row in csv.DictReader(file)}
    for item in INSTANCE_TYPES:
        row = rows[item.name]
        gpu = item.accelerator
        assert (
            row["gpu_name"],
            int(row["gpu_memory_mib_per_gpu"]),
            row["arch"],
            int(row["gpu_count"]),
            int(row["vcpu"]),
            int(row["memory_mib"]),
            int(row["network_baseline_mbps"]),
            int(row["ebs_max_mbps"]),
            int(row["local_nvme_gb_total"] or 0),
            row["usd_per_hour_on_demand_us_east_1_2026_07_20"],
        ) == (
            gpu.gpu_name,
            gpu.memory_mib,
            gpu.architecture,
            item.gpus,
            item.vcpus,
            item.memory_mib,
            item.network_mbps,
            item.ebs_mbps,
            item.nvme_gb,
            "" if item.usd_per_hour is None else str(item.usd_per_hour),
        )


def test_the_tool_says_when_the_table_is_old() -> None:
    """A check against other data fails in one sentence and writes nothing."""
    data = recorded_data("gpu_instances.csv").read_text()
    before = TABLE.read_text()
    done = subprocess.run(
        [sys.executable, "tools/instances.py", "/dev/stdin", "--check"],
        input=data.replace(",1.006", ",1.007"),
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "_instance_table.py is not what the data gives; run this without --check\n"
    )
    assert TABLE.read_text() == before


def test_only_small_sizes_burst() -> None:
    """A burst is known for types that exist, and every other type has none."""
    bursting = {
        item.name
        for item in INSTANCE_TYPES
        if item.network_burst_mbps > item.network_mbps
        or item.ebs_mbps > item.ebs_baseline_mbps
    }
    assert bursting == set(BURSTS)
    small = instance("g5.xlarge")
    assert (small.network_mbps, small.network_burst_mbps) == (2_500, 10_000)
    assert (small.ebs_baseline_mbps, small.ebs_mbps) == (700, 3_500)


@pytest.mark.parametrize("item", Accelerator)
def test_cuda_reports_less_memory_than_aws(item: Accelerator) -> None:
    """What vLLM can use is a little below AWS's figure; T4's includes its ECC."""
    share = item.cuda_memory_mib / item.memory_mib
    lowest = 0.9 if item.gpu_name.startswith("t4") else 0.97
    assert lowest - 1e-4 <= share < 1


def test_cuda_memory_is_what_has_been_measured() -> None:
    """A GPU has the memory of PyTorch's message, or 97 % where none was found."""
    gib = {item: item.cuda_memory_mib / 1024 for item in Accelerator}
    assert gib[Accelerator.T4] == pytest.approx(14.56, abs=0.005)
    assert gib[Accelerator.A10G] == pytest.approx(22.06, abs=0.005)
    assert gib[Accelerator.A100_40G] == pytest.approx(39.39, abs=0.005)
    assert gib[Accelerator.H100] == pytest.approx(79.11, abs=0.005)
    assert Accelerator.RTX_PRO_4500.cuda_memory_mib == 31_784


def test_an_instance_type_is_found_by_name() -> None:
    """A name gives the type with all its facts."""
    assert instance("g6.xlarge") == InstanceType(
        name="g6.xlarge",
        accelerator=Accelerator.L4,
        gpus=1,
        vcpus=4,
        memory_mib=16_384,
        allocatable_cpu=3.92,
        allocatable_memory_mib=14_162,
        network_mbps=2_500,
        network_burst_mbps=10_000,
        ebs_baseline_mbps=1_000,
        ebs_mbps=5_000,
        nvme_gb=250,
        usd_per_hour=0.8048,
    )


@pytest.mark.parametrize(
    ("name", "repair"),
    [
        (
            "g6.xlrge",
            "did you mean 'g6.xlarge' or 'g6e.xlarge' or 'g6.8xlarge'?",
        ),
        ("g4dn.metal", "it is bare metal"),
        ("p3dn.24xlarge", "its GPU has compute capability 7.0, and vLLM needs 7.5"),
        ("", "'g5.xlarge' is one; INSTANCE_TYPES lists all"),
        (None, "'g5.xlarge' is one; INSTANCE_TYPES lists all"),
        (["g6.xlarge"], "'g5.xlarge' is one; INSTANCE_TYPES lists all"),
    ],
)
def test_fails_when_no_pool_can_use_the_type(name: Any, repair: str) -> None:
    """An unknown name is refused with near ones, a left-out one with its reason."""
    with pytest.raises(ConfigurationError) as error:
        instance(name)
    assert str(error.value) == f"'name' {UNKNOWN} {name!r}; {repair}"


@given(ACCELERATORS, st.sampled_from([None, 1, 2, 4, 8, 3]))
def test_instances_with_finds_all_and_only_those_wanted(
    wanted: set[Accelerator], gpus: int | None
) -> None:
    """A type is found exactly if it has one of the GPUs, in the number wanted."""
    found = instances_with(wanted, gpus=gpus)
    assert set(found) == {
        item
        for item in INSTANCE_TYPES
        if item.accelerator in wanted and (gpus is None or item.gpus == gpus)
    }
    assert len(set(found)) == len(found)


@given(ACCELERATORS)
def test_instances_with_is_sorted_by_price_then_name(wanted: set[Accelerator]) -> None:
    """Cheaper types come first, equally dear ones by name, unpriced ones last."""
    found = instances_with(iter(wanted))
    keys = [(item.usd_per_hour or float("inf"), item.name) for item in found]
    assert keys == sorted(keys)


def test_a_type_without_a_price_comes_last() -> None:
    """Of the H200 types, the one without a price in the region is the second."""
    assert [item.name for item in instances_with([Accelerator.H200])] == [
        "p5en.48xlarge",
        "p5e.48xlarge",
    ]


@pytest.mark.parametrize(
    ("accelerators", "gpus", "messages"),
    [
        (
            ["l4", Accelerator.T4, None],
            0,
            [
                "'accelerators' must be of class Accelerator, got 'l4'",
                "'accelerators' must be of class Accelerator, got None",
                "'gpus' must be at least 1, got 0",
            ],
        ),
        (
            Accelerator.L4,
            "1",
            [
                (
                    f"'accelerators' must be several GPUs, got {Accelerator.L4!r}; "
                    "pass for example [Accelerator.L4]"
                ),
                "'gpus' must be a whole number, got '1'",
            ],
        ),
        (
            "l4",
            True,
            [
                (
                    "'accelerators' must be several GPUs, got 'l4'; "
                    "pass for example [Accelerator.L4]"
                ),
                "'gpus' must be a whole number, got True",
            ],
        ),
    ],
)
def test_fails_when_the_wish_is_malformed(
    accelerators: Any, gpus: Any, messages: Iterable[str]
) -> None:
    """Each bad value of a wish is refused, all of them at once."""
    with pytest.raises(ConfigurationError) as error:
        instances_with(accelerators, gpus=gpus)
    assert error.value.problems == tuple(messages)


def test_prices_are_those_of_the_table_unless_overridden() -> None:
    """A price of the user goes before the table's; other types keep theirs."""
    prices = Prices(usd_per_hour={"g5.xlarge": 0.9, "p5e.48xlarge": 60})
    assert prices.on_demand(instance("g5.xlarge")) == 0.9
    assert prices.on_demand(instance("g5.2xlarge")) == 1.212
    assert prices.on_demand(instance("p5e.48xlarge")) == 60
    assert Prices().on_demand(instance("p5e.48xlarge")) is None
    assert (PRICES_DATE, PRICES_REGION) == ("2026-07-20", "us-east-1")


def test_a_spot_price_is_never_guessed() -> None:
    """There is a spot price only with a ratio of the user and an on-demand price."""
    assert Prices().spot(instance("g5.xlarge")) is None
    assert Prices(spot_ratio=0.5).spot(instance("p5e.48xlarge")) is None
    prices = Prices(usd_per_hour={"g5.xlarge": 2}, spot_ratio=0.25)
    assert prices.spot(instance("g5.xlarge")) == 0.5


@given(
    st.sampled_from(INSTANCE_TYPES),
    st.floats(0, 1, exclude_min=True),
)
def test_spot_is_at_most_on_demand(item: InstanceType, ratio: float) -> None:
    """No allowed ratio makes spot dearer than on-demand."""
    prices = Prices(spot_ratio=ratio)
    on_demand, spot = prices.on_demand(item), prices.spot(item)
    assert (spot is None) == (on_demand is None)
    assert spot is None or on_demand is None or 0 <= spot <= on_demand


def test_prices_are_values() -> None:
    """Equal prices are equal and can be keys of a mapping."""
    one = Prices(usd_per_hour={"g5.xlarge": 0.9}, spot_ratio=0.4)
    other = Prices(usd_per_hour={"g5.xlarge": 0.9}, spot_ratio=0.4)
    assert one == other
    assert len({one, other, Prices()}) == 2


@pytest.mark.parametrize(("arguments", "messages"), BAD_PRICES)
def test_fails_when_a_price_breaks_a_rule(
    arguments: Mapping[str, Any], messages: Iterable[str]
) -> None:
    """Each bad price is refused with its whole message, all of them at once."""
    with pytest.raises(ConfigurationError) as error:
        Prices(**arguments)
    assert error.value.problems == tuple(messages)


@pytest.mark.parametrize(
    "value", [0, -1, float("nan"), float("inf"), 10**400, True, None, "1", [1], 1 + 0j]
)
def test_fails_when_a_number_is_none_above_zero(value: Any) -> None:
    """Neither a price nor a ratio can be zero, negative, boundless or no number."""
    with pytest.raises(ConfigurationError):
        Prices(usd_per_hour={"g5.xlarge": value})
    if value is not None:
        with pytest.raises(ConfigurationError):
            Prices(spot_ratio=value)
