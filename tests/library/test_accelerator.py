"""Tests of the GPU facts that decide where a model runs."""

import csv
from collections import defaultdict
from pathlib import Path

import pytest

from eks_inference import Accelerator
from tests.library.conftest import recorded_data


def test_names_are_those_of_the_members() -> None:
    """Settings name a GPU by its member in lower case, in the table's order."""
    names = Accelerator.names()
    assert names[:4] == ("t4", "t4g", "a10g", "l4")
    assert [Accelerator[name.upper()] for name in names] == list(Accelerator)


@pytest.mark.parametrize("item", Accelerator)
def test_current_vllm_runs_on_every_gpu(item: Accelerator) -> None:
    """No GPU is below the compute capability that vLLM requires."""
    assert item.compute_capability >= (7, 5)


def test_memory_is_what_aws_reports() -> None:
    """GPUs sold as 24 GB have the 22888 MiB that Karpenter's label carries."""
    assert Accelerator.A10G.memory_mib == Accelerator.L4.memory_mib == 22_888


def test_only_t4g_has_arm_nodes_and_no_nvme() -> None:
    """T4G is the one GPU whose instances have another CPU and no local NVMe."""
    assert [item for item in Accelerator if item.architecture != "amd64"] == [
        Accelerator.T4G
    ]
    assert [item for item in Accelerator if not item.has_local_nvme] == [
        Accelerator.T4G
    ]


def test_rows_are_distinct() -> None:
    """No two members are aliases of one row."""
    assert len(Accelerator.__members__) == len(list(Accelerator)) == 13


@pytest.mark.parametrize("item", Accelerator)
def test_facts_equal_the_instance_table(item: Accelerator) -> None:
    """Every fact of a GPU is what the table of EC2 instance types says."""
    found: dict[str, set[object]] = defaultdict(set)
    for row in _instance_rows(recorded_data("gpu_instances.csv")):
        key = (row["gpu_name"], int(row["gpu_memory_mib_per_gpu"]))
        if key != (item.gpu_name, item.memory_mib) or "metal" in row["instance_type"]:
            continue
        found["counts"].add(int(row["gpu_count"]))
        found["architecture"].add(row["arch"])
        major, minor = row["cuda_compute_capability"].split(".")
        found["capability"].add((int(major), int(minor)))
        found["nvme"].add(float(row["local_nvme_gb_total"] or 0) > 0)
    assert found == {
        "counts": set(item.counts),
        "architecture": {item.architecture},
        "capability": {item.compute_capability},
        "nvme": {item.has_local_nvme},
    }


def _instance_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
