"""Tests of the construct of a model that scales on its queue."""

from dataclasses import dataclass
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_s3 as s3
from constructs import Construct, IDependable
from syrupy.assertion import SnapshotAssertion

from eks_inference import (
    Accelerator,
    GpuInferencePool,
    PodIdentityRole,
    QueueScaledModel,
)
from eks_inference.image import VLLM_IMAGE
from eks_inference.model import ModelBucket
from eks_inference.planning import GpuPool
from eks_inference.testing import MANIFEST_TYPE, manifests, without_asset_hashes
from tests.library.cases import (
    APART,
    DIGEST,
    FLEET,
    default_model,
    default_pool,
    dependencies,
    objects,
    one,
    resources,
    template,
)
from tests.library.conftest import (
    import_bucket,
    import_cluster,
    make_model,
    make_pool,
)

ROLE = "AWS::IAM::Role"
ASSOCIATION = "AWS::EKS::PodIdentityAssociation"
MODEL_CASES = [
    "model-smallest",
    "model-everything",
    "model-zero",
    "model-http",
    "model-otel",
    "model-half",
    "imported-v1",
]


@dataclass(frozen=True)
class OtherPool:
    """A pool that another tool has made, as far as a model needs to know it."""

    cluster: eks.ICluster
    pool: GpuPool
    manifest: IDependable
    facts: None = None


def is_a_model_bucket(bucket: ModelBucket) -> bool:
    """Say whether a bucket has what a model asks of it; mypy says whether it fits."""
    return bool(bucket.bucket_name and bucket.bucket_arn)


def roles(case: str) -> dict[str, Any]:
    """Return the roles of a case's models, without that of the pools' node check."""
    return {
        key: role
        for key, role in resources(case, ROLE).items()
        if not key.startswith("EksInferenceNodeDrain")
    }


def pod(case: str) -> dict[str, Any]:
    """Return the spec of the pods of a case's only model."""
    spec: dict[str, Any] = one(case, "Deployment")["spec"]["template"]["spec"]
    return spec


def statements(case: str) -> list[dict[str, Any]]:
    """Return what the role of a case's only model may do."""
    [role] = roles(case).values()
    [policy] = role["Properties"]["Policies"]
    found: list[dict[str, Any]] = policy["PolicyDocument"]["Statement"]
    return found


@pytest.mark.parametrize("case", MODEL_CASES)
def test_template(case: str, snapshot: SnapshotAssertion) -> None:
    """Objects, role and association are the recorded ones."""
    found = {
        "manifests": manifests(template(case)),
        "role": roles(case),
        "association": resources(case, ASSOCIATION),
    }
    assert without_asset_hashes(found) == snapshot


@pytest.mark.parametrize("case", MODEL_CASES)
def test_names_agree(case: str) -> None:
    """Service account, pods and association name one account in one namespace."""
    [association] = resources(case, ASSOCIATION).values()
    account = one(case, "ServiceAccount")["metadata"]
    deployment = one(case, "Deployment")
    assert association["Properties"]["ServiceAccount"] == account["name"]
    assert association["Properties"]["Namespace"] == account["namespace"]
    assert pod(case)["serviceAccountName"] == account["name"]
    assert deployment["metadata"]["namespace"] == account["namespace"]
    [role_id] = roles(case)
    assert association["Properties"]["RoleArn"] == {"Fn::GetAtt": [role_id, "Arn"]}


@pytest.mark.parametrize("case", MODEL_CASES)
def test_pods_come_after_credentials_and_nodes(case: str) -> None:
    """Association, role and pool exist before the model, and are deleted after it."""
    applied = resources(case, MANIFEST_TYPE)
    [pool_id] = [key for key in applied if key.startswith("Gpu")]
    [model_id] = [key for key in applied if key.startswith("Chat")]
    [association_id] = resources(case, ASSOCIATION)
    assert {pool_id, association_id} <= set(applied[model_id]["DependsOn"])


def test_pods_come_after_what_the_caller_names() -> None:
    """What stands in 'after' exists before the model too."""
    applied = resources("model-everything", MANIFEST_TYPE)
    [model_id] = [key for key in applied if key.startswith("Chat")]
    assert any(key.startswith("Before") for key in applied[model_id]["DependsOn"])


def test_role_reads_its_own_prefix_only() -> None:
    """Objects are read below the prefix, and the bucket listed for it alone."""
    partition = {"Ref": "AWS::Partition"}
    assert statements("model-smallest") == [
        {
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": {
                "Fn::Join": ["", ["arn:", partition, ":s3:::weights/models/mistral/*"]]
            },
        },
        {
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": {"Fn::Join": ["", ["arn:", partition, ":s3:::weights"]]},
            "Condition": {"StringLike": {"s3:prefix": "models/mistral/*"}},
        },
    ]


def test_role_decrypts_where_the_bucket_has_a_key() -> None:
    """The bucket's key can be used where there is one, and only to decrypt."""
    assert statements("model-everything")[2:] == [
        {
            "Effect": "Allow",
            "Action": "kms:Decrypt",
            "Resource": "arn:aws:kms:eu-central-1:111122223333:key/weights",
        }
    ]


def test_image_is_awss_container_by_default() -> None:
    """Without an image the pods run AWS's container of a stated vLLM version."""
    [container] = pod("model-smallest")["containers"]
    assert container["image"] == VLLM_IMAGE
    assert ":0.31.0-" in VLLM_IMAGE


def test_region_is_the_stacks() -> None:
    """vLLM gets the region of the stack, also where it is known in deployment only."""
    [container] = pod("model-smallest")["containers"]
    assert {"name": "AWS_REGION", "value": "${AWS::Region}"} in container["env"]


def test_every_argument_reaches_the_objects() -> None:
    """Each argument of a model is found where it takes effect."""
    [container] = pod("model-everything")["containers"]
    assert container["image"].endswith(f"/team/vllm:0.31.0@{DIGEST}")
    mounts = {item["name"]: item for item in container["volumeMounts"]}
    assert mounts["cache"]["subPath"] == (
        f"llama-70b/l40s/team-vllm-0.31.0-{DIGEST.replace(':', '-')}"
    )
    service = one("model-everything", "Service")["spec"]
    assert service["trafficDistribution"] == "PreferClose"
    assert pod("model-everything")["priorityClassName"] == "serving"
    assert pod("model-everything")["terminationGracePeriodSeconds"] == 325
    assert "--tensor-parallel-size=4" in container["args"]
    scaled = one("model-everything", "ScaledObject")["spec"]
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (2, 3)
    assert scaled["advanced"]["scalingModifiers"] == {
        "formula": "running + waiting * 4",
        "target": "32",
        "metricType": "AverageValue",
    }
    for trigger in scaled["triggers"]:
        assert trigger["metadata"]["serverAddress"] == "https://prometheus.example.com"
    [endpoint] = one("model-everything", "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert endpoint["interval"] == "10s"


def test_half_precision_follows_from_the_pool() -> None:
    """A model on T4 runs in half precision without being told."""
    [container] = pod("model-half")["containers"]
    assert "--dtype=half" in container["args"]


def test_window_wakes_a_model_at_zero() -> None:
    """A model without replicas has its window among the triggers."""
    spec = one("model-zero", "ScaledObject")["spec"]
    assert spec["minReplicaCount"] == 0
    assert [item["type"] for item in spec["triggers"]] == ["prometheus", "cron"]


def test_fleet_has_everything_once_for_each_model() -> None:
    """Five models in one stack have objects, roles and accounts of their own."""
    for kind in ("ServiceAccount", "Service", "Deployment", "ScaledObject"):
        found = [item["metadata"]["name"] for item in objects("fleet", kind)]
        assert tuple(found) == FLEET
    accounts = [
        item["Properties"]["ServiceAccount"]
        for item in resources("fleet", ASSOCIATION).values()
    ]
    assert tuple(accounts) == FLEET
    assert len(roles("fleet")) == len(FLEET)


def test_fleet_keeps_its_pods_apart() -> None:
    """In one namespace no model's selectors match the pods of another one."""
    pods = {
        item["metadata"]["name"]: item["spec"]["template"]["metadata"]["labels"]
        for item in objects("fleet", "Deployment")
    }
    selectors = [
        (item["metadata"]["name"], item["spec"]["selector"])
        for item in objects("fleet", "Service")
    ] + [
        (item["metadata"]["name"], item["spec"]["selector"]["matchLabels"])
        for kind in ("Deployment", "PodDisruptionBudget", "PodMonitor")
        for item in objects("fleet", kind)
    ]
    assert len(selectors) == 4 * len(FLEET)
    for name, selector in selectors:
        selected = [
            other
            for other, labels in pods.items()
            if selector.items() <= labels.items()
        ]
        assert selected == [name]


def test_fleet_runs_each_model_on_its_pool() -> None:
    """Each model selects the nodes of the pool that it was given."""
    found = {
        item["metadata"]["name"]: item["spec"]["template"]["spec"]["nodeSelector"]
        for item in objects("fleet", "Deployment")
    }
    assert found["chat"] == {"eks-inference/pool": "small"}
    assert found["code"] == {"eks-inference/pool": "large"}


def test_stacks_depend_in_one_direction() -> None:
    """Cluster, pools and models in stacks of their own depend on each other in line."""
    cluster, pools, models, bucket = APART
    assert dependencies(cluster) == dependencies(bucket) == set()
    assert dependencies(pools) == {cluster}
    assert dependencies(models) == {cluster, pools, bucket}


def test_nothing_of_a_model_lies_in_another_stack() -> None:
    """The stack of the models holds all that is theirs, the others nothing of it."""
    cluster, pools, models, _ = APART
    assert len(resources(models, MANIFEST_TYPE)) == 2
    assert len(resources(models, ASSOCIATION)) == 2
    assert len(resources(pools, MANIFEST_TYPE)) == 1
    assert not resources(cluster, MANIFEST_TYPE)


def test_imported_cluster_needs_no_stack_of_its_own() -> None:
    """An imported cluster takes all objects through a kubectl provider of ours."""
    kinds = {
        item["kind"]
        for group in manifests(template("imported")).values()
        for item in group
    }
    assert {"NodePool", "EC2NodeClass", "Deployment", "ScaledObject"} <= kinds


def test_pool_can_be_anything_that_looks_like_one(stack: cdk.Stack) -> None:
    """A model runs on a pool that was not made by this library."""
    pool = OtherPool(
        cluster=import_cluster(stack),
        pool=make_pool(name="legacy", accelerators=(Accelerator.T4,)),
        manifest=Construct(stack, "Legacy"),
    )
    made = QueueScaledModel(stack, "Chat", pool=pool, model=make_model())
    assert made.plan.dtype == "half"
    assert pool.manifest in made.node.find_child("Resource").node.dependencies


def test_bucket_is_whatever_has_a_name(stack: cdk.Stack) -> None:
    """A bucket of CDK is structurally what a model asks of its bucket."""
    bucket: s3.IBucket = import_bucket(stack)
    assert make_model(bucket=bucket).uri == "s3://weights/models/mistral/"
    assert is_a_model_bucket(bucket)


def test_attributes_say_what_others_need(stack: cdk.Stack) -> None:
    """Endpoint, plan and role of a model are readable."""
    made = QueueScaledModel(
        stack,
        "Chat",
        pool=default_pool(stack),
        model=default_model(stack, "chat"),
        namespace="search",
    )
    assert made.endpoint == "http://chat.search.svc:8000/v1"
    assert made.plan.scaling_target == 24
    assert isinstance(made.role, PodIdentityRole)
    assert made.node.find_child("Role") is made.role


def test_manifest_is_the_default_child(stack: cdk.Stack) -> None:
    """Escape hatches reach the objects as the construct's default child."""
    pool: GpuInferencePool = default_pool(stack)
    made = QueueScaledModel(stack, "Chat", pool=pool, model=default_model(stack))
    assert isinstance(made.node.default_child, eks.KubernetesManifest)
    assert made.manifest is made.node.default_child


def test_logical_ids_are_stable() -> None:
    """The ids of the resources are pinned: another id would replace the pods."""
    assert list(template("model-smallest")["Resources"]) == [
        "GpuNodeDrain93882A78",
        "Gpu05B72DCE",
        "EksInferenceNodeDrainLogs7F0F1FDB",
        "EksInferenceNodeDrainRole04494BC3",
        "EksInferenceNodeDrainFunction24AE578F",
        "ChatRoleE8383DBB",
        "ChatRoleAssociationF802D1A3",
        "ChatF114FAFD",
    ]
