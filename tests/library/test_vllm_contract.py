"""Holds what the library asks of vLLM against what a real vLLM offers."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from eks_inference import Accelerator, QueueScaling
from eks_inference.manifests.serving import Serving, scaled_object, vllm_arguments
from tests.library.conftest import WINDOW, make_pool, make_serving, recorded_data

CONTRACT: dict[str, Any] = json.loads(
    (Path(__file__).parent / "vllm_contract.json").read_text()
)
SERVINGS = [
    make_serving(),
    make_serving(pool=make_pool(accelerators=(Accelerator.T4,))),
    make_serving(scaling=QueueScaling(min_replicas=0, activation=WINDOW)),
]
# labels that Prometheus itself adds to what a pod exposes
FROM_PROMETHEUS = {"namespace", "job"}


def flags(serving: Serving) -> set[str]:
    """Return the names of the flags that are rendered."""
    return {item.split("=", 1)[0] for item in vllm_arguments(serving)[1:]}


def queries(serving: Serving) -> list[str]:
    """Return the queries that are rendered."""
    return [
        trigger["metadata"]["query"]
        for trigger in scaled_object(serving)["spec"]["triggers"]
        if trigger["type"] == "prometheus"
    ]


def test_contract_holds_the_flags_that_are_used() -> None:
    """The contract names every flag that is ever rendered, and no other."""
    assert sorted(set().union(*map(flags, SERVINGS))) == CONTRACT["flags"]


@pytest.mark.parametrize("serving", SERVINGS)
def test_queries_use_metrics_and_labels_of_the_contract(serving: Serving) -> None:
    """Every metric and label of a query is one that vLLM exposes."""
    for query in queries(serving):
        names = re.findall(r"vllm:\w+", query)
        assert names
        for name in names:
            labels = set(re.findall(r"(\w+)=", query))
            assert labels - FROM_PROMETHEUS <= set(CONTRACT["metrics"][name])


def test_contract_holds_the_metrics_that_are_used() -> None:
    """The contract names every metric that is ever asked for, and no other."""
    used = {
        name
        for serving in SERVINGS
        for query in queries(serving)
        for name in re.findall(r"vllm:\w+", query)
    }
    assert sorted(used) == sorted(CONTRACT["metrics"])


def test_recorded_vllm_has_the_flags() -> None:
    """A real vLLM of the contract's version knows every flag of the contract."""
    help_text = recorded_data(f"vllm_serve_flags_{CONTRACT['version']}.txt").read_text()
    known = set(re.findall(r"^ +(--[a-z][a-z0-9-]*)", help_text, re.MULTILINE))
    assert set(CONTRACT["flags"]) <= known


def test_recorded_vllm_has_the_metrics() -> None:
    """A real vLLM exposes every metric of the contract with its labels."""
    rows = recorded_data("vllm_metric_families.tsv").read_text().splitlines()
    families = {row.split("\t")[0]: row.split("\t")[4] for row in rows}
    for name, labels in CONTRACT["metrics"].items():
        assert families[name] == repr(labels)
