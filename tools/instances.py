"""Write the planner's table of EC2 instance types from data, or check it.

``python tools/instances.py CSV`` writes the module, ``... CSV --check`` only says
whether it is what the data gives. The columns of the CSV are those of Karpenter's
generated tables; see the header of the module.
"""
# ruff: noqa: INP001 - a script, not a package

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import eks_inference
from eks_inference import Accelerator

TABLE = Path(str(eks_inference.__file__)).parent / "planning" / "_instance_table.py"
"""The module that is written."""

PRICES_DATE = "2026-07-20"
"""Day of the prices, which is part of their column's name."""

PRICES_REGION = "us-east-1"
"""Region of the prices, which is part of their column's name."""

PRICE_COLUMN = f"usd_per_hour_on_demand_{PRICES_REGION}_{PRICES_DATE}".replace("-", "_")
"""Column with the on-demand price, empty where there is none."""

LOWEST_CAPABILITY = (7, 5)
"""Lowest CUDA compute capability of current vLLM."""

BURSTS = {
    "g4dn.xlarge": (25_000, 950),
    "g4dn.2xlarge": (25_000, 1_150),
    "g4dn.4xlarge": (25_000, 4_750),
    "g5.xlarge": (10_000, 700),
    "g5.2xlarge": (10_000, 850),
    "g5.4xlarge": (25_000, 4_750),
    "g5g.xlarge": (10_000, 1_188),
    "g5g.2xlarge": (10_000, 2_375),
    "g5g.4xlarge": (10_000, 4_750),
    "g6.xlarge": (10_000, 1_000),
    "g6.2xlarge": (10_000, 2_000),
    "g6.4xlarge": (25_000, 8_000),
    "gr6.4xlarge": (25_000, 8_000),
    "g6e.xlarge": (20_000, 1_000),
    "g6e.2xlarge": (20_000, 2_000),
    "g7.2xlarge": (60_000, 4_000),
    "g7.4xlarge": (100_000, 8_000),
    "g7e.2xlarge": (50_000, 2_000),
}
"""Network burst and EBS baseline, in Mbit/s, of the types that burst in one of them.

Source: what EC2's DescribeInstanceTypes answers (``NetworkPerformance`` "Up to ...",
``BaselineBandwidthInMbps`` of ``EbsOptimizedInfo``), as getmoto/moto 5.2.5 has
recorded it in moto/ec2/resources/instance_types.json."""

HEADER = '''\
"""What AWS says of each instance type with NVIDIA GPUs. Generated, do not edit.

Written by ``python tools/instances.py CSV`` (``--check`` compares), where the CSV
joins three files of aws/karpenter-provider-aws at 1d92708 (2026-08-21):
website/content/en/preview/reference/instance-types.md (GPUs, CPU, memory, what
Karpenter expects to be allocatable with AL2023, EBS ceiling, NVMe),
pkg/providers/instancetype/zz_generated.bandwidth.go (network baseline) and
pkg/providers/pricing/zz_generated.pricing_aws.go (on-demand Linux prices). Network
burst and EBS baseline: EC2's DescribeInstanceTypes, as getmoto/moto 5.2.5 has
recorded it in moto/ec2/resources/instance_types.json.
"""
# ruff: noqa: E501 - one instance type a line

'''

TEXTS = 2
"""Number of columns that are texts; they come first."""

COLUMNS = (
    "name, GPU, GPUs, vCPUs, memory MiB, allocatable CPU, allocatable MiB,",
    "network Mbit/s, with burst, EBS Mbit/s, with burst, NVMe GB, USD/h",
)


def reason_left_out(row: Mapping[str, str]) -> str | None:
    """Return why a pool cannot use an instance type, or None if it can.

    Args:
        row: A row of the CSV.
    """
    if row["gpu_manufacturer"] != "nvidia":
        return "its GPU is not made by NVIDIA"
    if row["gpu_count"] == "0":
        return "it has a fraction of a GPU, for which Karpenter advertises none"
    if row["instance_type"].endswith(".metal"):
        return "it is bare metal"
    major, minor = row["cuda_compute_capability"].split(".")
    if (int(major), int(minor)) < LOWEST_CAPABILITY:
        return f"its GPU has compute capability {major}.{minor}, and vLLM needs 7.5"
    return None


def cells(row: Mapping[str, str]) -> tuple[str, ...]:
    """Return a row of the table as Python literals.

    Args:
        row: A row of the CSV that is not left out.
    """
    name = row["instance_type"]
    gpu = (row["gpu_name"], int(row["gpu_memory_mib_per_gpu"]))
    accelerator = next(a for a in Accelerator if (a.gpu_name, a.memory_mib) == gpu)
    network, ebs = row["network_baseline_mbps"], row["ebs_max_mbps"]
    burst, baseline = BURSTS.get(name, (network, ebs))
    cpu = int(row["karpenter_allocatable_cpu"].removesuffix("m")) / 1000
    return (
        f'"{name}"',
        f'"{accelerator.name}"',
        row["gpu_count"],
        row["vcpu"],
        row["memory_mib"],
        str(cpu),
        row["karpenter_allocatable_memory"].removesuffix("Mi"),
        network,
        str(burst),
        str(baseline),
        ebs,
        row["local_nvme_gb_total"] or "0",
        row[PRICE_COLUMN] or "None",
    )


def table(path: Path) -> str:
    """Return the text of the module.

    Args:
        path: The CSV.
    """
    with path.open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=_family_then_size)
    usable = [cells(row) for row in rows if reason_left_out(row) is None]
    widths = [max(map(len, column)) for column in zip(*usable, strict=True)]
    lines = [
        f'PRICES_DATE = "{PRICES_DATE}"',
        '"""Day of the prices."""',
        "",
        f'PRICES_REGION = "{PRICES_REGION}"',
        '"""Region of the prices."""',
        "",
        f"Row = tuple[str, str, int, int, int, float, {'int, ' * 6}float | None]",
        "",
        "# fmt: off",
        "ROWS: tuple[Row, ...] = (",
        *(f"    # {text}" for text in COLUMNS),
        *(f"    ({_aligned(row, widths)})," for row in usable),
        ")",
        "# fmt: on",
        '"""One row for each instance type that a pool can use."""',
        "",
        "LEFT_OUT = {",
        *(
            f'    "{row["instance_type"]}": "{reason}",'
            for row in rows
            if (reason := reason_left_out(row))
        ),
        "}",
        '"""Why a pool cannot use the other instance types with GPUs."""',
    ]
    return HEADER + "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> str | None:
    """Write or check the module; return what is wrong with it.

    Args:
        arguments: The command line without the program.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("csv", type=Path, help="instance types, one a row")
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    text = table(options.csv)
    if not options.check:
        TABLE.write_text(text)
    elif TABLE.read_text() != text:
        return f"{TABLE.name} is not what the data gives; run this without --check"
    return None


def _family_then_size(row: Mapping[str, str]) -> tuple[str, int, str]:
    name = row["instance_type"]
    return name.partition(".")[0], int(row["vcpu"]), name


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    # texts to the left, numbers to the right
    padded = [
        f"{cell},".ljust(width + 1) if column < TEXTS else f"{cell},".rjust(width + 1)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return " ".join(padded).removesuffix(",")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
