"""Holds every rendered object against the schemas of the API server."""

from functools import cache

import pytest

from eks_inference import Accelerator, Capacity, NodeIdentity
from eks_inference.manifests import Manifest
from eks_inference.manifests.gpu_pool import node_class, node_pool
from eks_inference.testing import manifests
from tests.library.cases import APART, CASES, template
from tests.library.conftest import make_pool
from tests.schemas.crds import from_npm
from tests.schemas.manifests import problems

VERSIONS = ("1.33", "1.34", "1.35")


@cache
def rendered(case: str) -> list[Manifest]:
    """Return all objects of a case."""
    return [item for group in manifests(template(case)).values() for item in group]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", [*CASES, *APART])
def test_objects_are_valid(case: str, version: str) -> None:
    """An API server of each supported version accepts every object of every case."""
    found = {
        f"{item['kind']} {item['metadata']['name']}": problems(
            item, kubernetes_version=version, crds=from_npm()
        )
        for item in rendered(case)
    }
    assert {key: value for key, value in found.items() if value} == {}


def test_cases_render_objects_of_every_kind() -> None:
    """The cases above leave out no kind that the library renders."""
    kinds = {item["kind"] for case in (*CASES, *APART) for item in rendered(case)}
    assert kinds == {
        "ConfigMap",
        "InterceptorRoute",
        "PrometheusRule",
        "ServiceAccount",
        "Service",
        "PodDisruptionBudget",
        "Deployment",
        "PodMonitor",
        "ScaledObject",
        "EC2NodeClass",
        "NodePool",
        "PersistentVolume",
        "PersistentVolumeClaim",
    }


@pytest.mark.parametrize("item", Accelerator)
def test_a_pool_of_each_gpu_is_valid(item: Accelerator) -> None:
    """Karpenter accepts the pool of every GPU that the library knows."""
    count = item.counts[-1]
    pool = make_pool(
        accelerators=(item,),
        gpus_per_node=count,
        max_gpus=count,
        capacity=Capacity.spot(),
    )
    made = node_class(
        pool,
        cluster_name="shared",
        nodes=NodeIdentity.from_role_name("gpu-node"),
        security_group_ids=(),
        tags={"team": "search"},
    )
    for manifest in (made, node_pool(pool)):
        assert problems(manifest, kubernetes_version="1.35", crds=from_npm()) == []
