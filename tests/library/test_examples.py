"""Runs every example as its reader would, and looks at what it shows."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from eks_inference.manifests import Manifest
from eks_inference.testing import manifests
from tests.schemas.crds import from_npm
from tests.schemas.manifests import problems

EXAMPLES = Path(__file__).parents[2] / "constructs" / "examples"
APPS = sorted(path.parent.name for path in EXAMPLES.glob("*/app.py"))

WITHOUT_CDK = """
import runpy, sys
runpy.run_path(sys.argv[1], run_name="__main__")
print(sorted({"aws_cdk"} & sys.modules.keys()), file=sys.stderr)
"""

Template = dict[str, Any]


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder of its own, in which it must leave nothing."""
    with TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, *arguments],
            check=True,
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, "CDK_VALIDATION": "false", **variables},
        )
        assert list(Path(folder).iterdir()) == []
        return done


@cache
def templates(example: str) -> dict[str, Template]:
    """Return the templates of an example, by the name of the stack."""
    with TemporaryDirectory() as output:
        run(str(EXAMPLES / example / "app.py"), CDK_OUTDIR=output)
        return {
            path.name.removesuffix(".template.json"): json.loads(path.read_text())
            for path in Path(output).glob("*.template.json")
        }


@cache
def rendered() -> list[Manifest]:
    """Return the objects that the example without CDK prints."""
    output = run(str(EXAMPLES / "gitops" / "render.py")).stdout
    return list(yaml.safe_load_all(output))


def objects(example: str) -> list[Manifest]:
    """Return the Kubernetes objects of an example."""
    if example == "gitops":
        return rendered()
    return [
        item
        for template in templates(example).values()
        for group in manifests(template).values()
        for item in group
    ]


def of_kind(example: str, kind: str) -> dict[str, Manifest]:
    """Return the objects of one kind in an example, by name."""
    return {
        item["metadata"]["name"]: item
        for item in objects(example)
        if item["kind"] == kind
    }


def types(template: Template) -> list[str]:
    """Return the types of a template's resources."""
    return [item["Type"] for item in template["Resources"].values()]


def shows_minimal() -> None:
    """One pool and one model, and the address of the model."""
    [template] = templates("minimal").values()
    assert list(of_kind("minimal", "Deployment")) == ["mistral-7b"]
    assert list(of_kind("minimal", "NodePool")) == ["gpu"]
    assert template["Outputs"]["Endpoint"]["Value"] == (
        "http://mistral-7b.inference.svc:8000/v1"
    )


def shows_own_cluster() -> None:
    """A cluster of the older module in a stack that knows nothing of the model."""
    found = templates("own_cluster")
    assert "Custom::AWSCDK-EKS-Cluster" in types(found["Platform"])
    assert manifests(found["Platform"]) == {}
    assert "Custom::AWSCDK-EKS-Cluster" not in types(found["Serving"])
    [group] = [
        item["spec"]["template"]["spec"]
        for item in of_kind("own_cluster", "NodePool").values()
    ]
    required = {item["key"]: item["values"] for item in group["requirements"]}
    assert required["karpenter.k8s.aws/instance-gpu-name"] == ["l4"]
    assert required["karpenter.sh/capacity-type"] == ["on-demand"]
    [node] = of_kind("own_cluster", "EC2NodeClass").values()
    assert node["spec"]["role"] == "gpu-nodes"


def shows_shared_pool() -> None:
    """Three models on one pool, of which one sleeps at night."""
    scaled = of_kind("shared_pool", "ScaledObject")
    assert {name: item["spec"]["minReplicaCount"] for name, item in scaled.items()} == {
        "chat": 1,
        "reports": 0,
        "titles": 1,
    }
    triggers = scaled["reports"]["spec"]["triggers"]
    assert [item["type"] for item in triggers] == ["prometheus", "cron"]
    [pool] = of_kind("shared_pool", "NodePool").values()
    assert pool["spec"]["limits"] == {"nvidia.com/gpu": "10"}
    requirements = pool["spec"]["template"]["spec"]["requirements"]
    [gpus] = [item["values"] for item in requirements if "gpu-name" in item["key"]]
    assert gpus == ["a10g", "l4"]
    most = sum(item["spec"]["maxReplicaCount"] for item in scaled.values())
    assert most == 9
    for item in of_kind("shared_pool", "Deployment").values():
        volumes = item["spec"]["template"]["spec"]["volumes"]
        assert "vllm-compile-cache" in str(volumes)


def shows_model_import() -> None:
    """A job that brings the weights, and a model that waits for them."""
    [job] = of_kind("model_import", "Job").values()
    assert job["metadata"]["name"].startswith("weights-import-")
    [model] = of_kind("model_import", "Deployment").values()
    assert len(model["spec"]["template"]["spec"]["initContainers"]) == 1


def shows_scale_to_zero() -> None:
    """A model that the clock and a request wake, behind the interceptor, with a key."""
    [template] = templates("scale_to_zero").values()
    assert template["Outputs"]["Endpoint"]["Value"] == (
        "http://assistant-http.inference.svc:8080/v1"
    )
    [scaled] = of_kind("scale_to_zero", "ScaledObject").values()
    assert scaled["spec"]["minReplicaCount"] == 0
    assert [item["type"] for item in scaled["spec"]["triggers"]] == [
        "prometheus",
        "cron",
        "external-push",
    ]
    assert "secretKeyRef" in str(of_kind("scale_to_zero", "Deployment"))


def shows_new_version() -> None:
    """One address in front of the version that there is, which must be ready first."""
    [template] = templates("new_version").values()
    assert template["Outputs"]["Address"]["Value"] == (
        "http://chat.inference.svc:8000/v1"
    )
    assert of_kind("new_version", "Service").keys() == {"chat", "chat-v2"}
    assert types(template).count("Custom::AWSCDK-EKS-KubernetesObjectValue") == 1


def shows_existing_vpc() -> None:
    """Endpoints, an image cache and a store for a VPC that exists."""
    [template] = templates("existing_vpc").values()
    found = types(template)
    assert found.count("AWS::EC2::VPCEndpoint") == 4
    assert "AWS::EC2::VPC" not in found
    assert "AWS::ECR::PullThroughCacheRule" in found
    assert "AWS::S3::Bucket" in found
    assert "ecr-public/deep-learning-containers/vllm" in str(template["Outputs"])


def shows_gitops() -> None:
    """The objects of a pool and a model, in the order in which they are applied."""
    assert [item["kind"] for item in rendered()] == [
        "EC2NodeClass",
        "NodePool",
        "ServiceAccount",
        "Service",
        "PodDisruptionBudget",
        "Deployment",
        "PodMonitor",
        "ScaledObject",
    ]


SHOWS: dict[str, Callable[[], None]] = {
    "minimal": shows_minimal,
    "own_cluster": shows_own_cluster,
    "shared_pool": shows_shared_pool,
    "model_import": shows_model_import,
    "scale_to_zero": shows_scale_to_zero,
    "new_version": shows_new_version,
    "existing_vpc": shows_existing_vpc,
    "gitops": shows_gitops,
}


def test_every_example_is_looked_at() -> None:
    """No example is without a test of what it shows."""
    assert sorted(SHOWS) == sorted(
        path.name for path in EXAMPLES.iterdir() if path.is_dir()
    )
    assert {*APPS, "gitops"} == SHOWS.keys()


@pytest.mark.parametrize("example", SHOWS)
def test_example_shows_what_it_says(example: str) -> None:
    """Each example runs, and its result is what its text promises."""
    SHOWS[example]()


@pytest.mark.parametrize("example", SHOWS)
def test_objects_are_valid(example: str) -> None:
    """An API server accepts every object of every example."""
    found = {
        f"{item['kind']} {item['metadata']['name']}": problems(
            item, kubernetes_version="1.35", crds=from_npm()
        )
        for item in objects(example)
    }
    assert {key: value for key, value in found.items() if value} == {}


def test_objects_without_cdk_need_none() -> None:
    """The example for GitOps never imports CDK."""
    found = run("-c", WITHOUT_CDK, str(EXAMPLES / "gitops" / "render.py"))
    assert found.stderr.splitlines()[-1] == "[]"


def test_objects_without_cdk_are_those_with_it() -> None:
    """Rendered without CDK, a model is scaled as it is with it."""
    [plain] = of_kind("gitops", "ScaledObject").values()
    [made] = of_kind("minimal", "ScaledObject").values()
    assert plain == made
