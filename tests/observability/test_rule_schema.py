"""The rules as the Prometheus operator accepts them."""

import copy
from typing import Any

import pytest

from eks_inference.manifests.alert_rules_cluster import cluster_rule
from eks_inference.manifests.alert_rules_model import model_rule
from tests.observability.alert_world import SERVING
from tests.schemas.crds import from_npm
from tests.schemas.manifests import problems

KUBERNETES = "1.35"


def check(manifest: dict[str, Any]) -> list[str]:
    """Return what an API server would not accept."""
    return problems(manifest, kubernetes_version=KUBERNETES, crds=from_npm())


@pytest.mark.parametrize(
    "manifest",
    [model_rule(SERVING), cluster_rule(namespace="monitoring")],
    ids=["model", "cluster"],
)
def test_rules_are_valid(manifest: dict[str, Any]) -> None:
    """The objects have the fields of a PrometheusRule and no others."""
    assert check(manifest) == []


def test_schema_sees_a_slip() -> None:
    """A misspelt field of a rule would be noticed."""
    manifest = copy.deepcopy(model_rule(SERVING))
    manifest["spec"]["groups"][0]["rules"][0]["hold"] = "1m"
    assert any("hold: unknown field" in problem for problem in check(manifest))


def test_rules_stand_beside_the_model() -> None:
    """The object has the name, the namespace and the labels of the model's others."""
    metadata = model_rule(SERVING)["metadata"]
    assert metadata == SERVING.metadata
