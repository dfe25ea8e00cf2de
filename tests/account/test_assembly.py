"""Tests of what is read from a cloud assembly."""

import json
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2

from eks_inference import (
    Accelerator,
    Capacity,
    ConfigurationError,
    GpuInferencePool,
    ImageCache,
    Model,
    ModelStore,
    QueueScaledModel,
)
from eks_inference.account.assembly import read_images, read_needs
from eks_inference.account.needs import DeploymentNeeds, NodeGroupNeeds
from eks_inference.testing import MANIFEST_TYPE, imported_cluster
from infra.stacks import define_stacks
from infra.stages import load


def write_assembly(folder: Path, resources: dict[str, Any], **changes: Any) -> Path:
    """Write an assembly with one stack."""
    folder.mkdir(exist_ok=True)
    (folder / "Stack.template.json").write_text(json.dumps({"Resources": resources}))
    stack = {
        "type": "aws:cloudformation:stack",
        "environment": "aws://unknown-account/unknown-region",
        "properties": {"templateFile": "Stack.template.json", **changes},
    }
    (folder / "manifest.json").write_text(json.dumps({"artifacts": {"Stack": stack}}))
    return folder


def node_pool(*more: Any, **changes: Any) -> dict[str, Any]:
    """Return a resource that applies a NodePool, with some values changed."""
    values: dict[str, Any] = {
        "limits": {"nvidia.com/gpu": "4"},
        "instance-gpu-name": ["l4"],
        "instance-gpu-count": ["1"],
        "capacity-type": ["spot"],
        **changes,
    }
    limits = values.pop("limits")
    manifest = {
        "kind": "NodePool",
        "metadata": {"name": "gpu"},
        "spec": {
            "limits": limits,
            "template": {
                "spec": {
                    "requirements": [
                        {"key": f"x/{key}", "operator": "In", "values": value}
                        for key, value in values.items()
                        if value is not None
                    ]
                    + list(more)
                }
            },
        },
    }
    text = json.dumps([manifest])
    return {"Type": MANIFEST_TYPE, "Properties": {"Manifest": text}}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> DeploymentNeeds:
    """What the platform's own stage needs."""
    folder = tmp_path_factory.mktemp("platform")
    app = cdk.App(outdir=str(folder))
    define_stacks(app, load("dev", account="111122223333", region="eu-west-1"))
    app.synth()
    return read_needs(folder)


def test_platform_is_read_as_it_is_set(platform: DeploymentNeeds) -> None:
    """The needs of the platform are those of its settings."""
    settings = load("dev")
    [found] = platform.pools
    [pool] = settings.pools
    assert found.pool.name == pool.name
    assert found.pool.accelerators == (Accelerator.A10G, Accelerator.L4)
    assert found.pool.max_gpus == pool.max_gpus
    assert found.pool.capacity.types == Capacity.spot_with_fallback().types
    [model] = settings.models
    assert (found.cpu, found.memory_mib) == (model.cpu, model.memory_gib * 1024)
    assert platform.kubernetes_version == settings.kubernetes_version
    assert platform.node_groups == (
        NodeGroupNeeds(
            instance_type=settings.system_nodes.instance_type,
            count=settings.system_nodes.count,
        ),
    )
    assert platform.clusters == (settings.cluster_name,)
    assert platform.other_vcpus == 32
    assert (platform.vpcs, platform.elastic_ips) == (1, settings.network.nat_gateways)
    assert (platform.accounts, platform.regions) == (("111122223333",), ("eu-west-1",))
    assert "inference-dev-serving" in platform.stacks


def test_any_app_with_the_library_is_read(tmp_path: Path) -> None:
    """Pools of an app with a nested stage are found, with the models on them."""
    app = cdk.App(outdir=str(tmp_path))
    stage = cdk.Stage(app, "Beta")
    stack = cdk.Stack(
        stage,
        "Models",
        synthesizer=cdk.DefaultStackSynthesizer(qualifier="team"),
    )
    ec2.Vpc(stack, "Vpc", max_azs=2, nat_gateways=0)
    cluster = imported_cluster(stack)
    pool = GpuInferencePool(
        stack,
        "Big",
        cluster=cluster,
        accelerators=[Accelerator.L40S],
        gpus_per_node=4,
        max_gpus=20,
        capacity=Capacity.on_demand(),
    )
    for name, memory in (("a", 40), ("b", 60)):
        QueueScaledModel(
            stack,
            name.upper(),
            pool=pool,
            model=Model.from_bucket(
                ModelStore(stack, f"Store{name}"),
                "models/a/",
                name=name,
                weights_gb=4,
                max_model_len=8192,
                memory_gib=memory,
            ),
        )
    app.synth()
    needs = read_needs(tmp_path)
    [found] = needs.pools
    assert found.pool.name == "big"
    assert (found.pool.gpus_per_node, found.nodes) == (4, 5)
    assert found.memory_mib == 60 * 1024
    assert found.instances[0].name == "g6e.12xlarge"
    assert needs.bootstrap[0] == "/cdk-bootstrap/team/version"
    assert needs.stacks == ("Beta-Models",)
    assert (needs.vpcs, needs.first_zones, needs.availability_zones) == (1, 2, ())
    assert needs.kubernetes_version is None


def test_nested_stacks_are_read(tmp_path: Path) -> None:
    """What stands in a nested stack is needed too."""
    (tmp_path / "n.json").write_text(json.dumps({"Resources": {"P": node_pool()}}))
    nested = {
        "Type": "AWS::CloudFormation::Stack",
        "Metadata": {"aws:asset:path": "n.json"},
    }
    [found] = read_needs(write_assembly(tmp_path, {"Nested": nested})).pools
    assert found.pool.name == "gpu"


def test_older_clusters_are_read(tmp_path: Path) -> None:
    """A cluster of aws_eks has its version in another place."""
    cluster = {
        "Type": "Custom::AWSCDK-EKS-Cluster",
        "Properties": {"Config": {"version": "1.34", "name": "old"}},
    }
    needs = read_needs(write_assembly(tmp_path, {"Cluster": cluster}))
    assert (needs.kubernetes_version, needs.clusters) == ("1.34", ("old",))


def test_zones_by_name(tmp_path: Path) -> None:
    """Zones that the app names are checked by name, CDK's stand-ins are not."""
    subnets = {
        zone: {"Type": "AWS::EC2::Subnet", "Properties": {"AvailabilityZone": zone}}
        for zone in ("eu-west-1b", "eu-west-1a", "dummy1a")
    }
    needs = read_needs(write_assembly(tmp_path, subnets))
    assert needs.availability_zones == ("eu-west-1a", "eu-west-1b")


def test_spot_node_groups_are_left_out(tmp_path: Path) -> None:
    """Only nodes that are bought on demand meet the quota of on demand."""
    group = {
        "Type": "AWS::EKS::Nodegroup",
        "Properties": {
            "CapacityType": "SPOT",
            "InstanceTypes": ["m6i.large"],
            "ScalingConfig": {"DesiredSize": 2},
        },
    }
    assert read_needs(write_assembly(tmp_path, {"Group": group})).node_groups == ()


def test_pool_without_capacity_is_on_demand(tmp_path: Path) -> None:
    """Karpenter takes on demand where a NodePool says nothing."""
    pool = node_pool(**{"capacity-type": None})
    [found] = read_needs(write_assembly(tmp_path, {"Pool": pool})).pools
    assert found.pool.capacity == Capacity.on_demand()


def test_what_a_pool_excludes_is_not_what_it_takes(tmp_path: Path) -> None:
    """Only requirements with the operator In name what Karpenter may launch."""
    others = {"key": "x/capacity-type", "operator": "NotIn", "values": ["reserved"]}
    [found] = read_needs(write_assembly(tmp_path, {"Pool": node_pool(others)})).pools
    assert found.pool.capacity == Capacity.spot()


def test_memory_tells_gpus_of_one_name_apart(tmp_path: Path) -> None:
    """The A100 of 80 GB is not the one of 40."""
    pool = node_pool(
        **{
            "instance-gpu-name": ["a100"],
            "instance-gpu-count": ["8"],
            "instance-gpu-memory": ["81920"],
            "limits": {"nvidia.com/gpu": 8},
        }
    )
    [found] = read_needs(write_assembly(tmp_path, {"Pool": pool})).pools
    assert found.pool.accelerators == (Accelerator.A100_80G,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"limits": {}},
            (
                "pool 'gpu': 'limits' of the NodePool must have a number of "
                "nvidia.com/gpu, got None"
            ),
        ),
        (
            {"instance-gpu-count": ["1", "4"]},
            (
                "pool 'gpu': 'requirements' of the NodePool must have one "
                "instance-gpu-count, got ['1', '4']; make a pool for each"
            ),
        ),
        (
            {"instance-gpu-name": ["v100"]},
            (
                "pool 'gpu': 'accelerators' must not be empty; pass for example "
                "[Accelerator.L4]"
            ),
        ),
    ],
)
def test_fails_when_a_pool_cannot_be_counted(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    """A pool that could launch anything has no sum of vCPUs, and is refused."""
    with pytest.raises(ConfigurationError) as error:
        read_needs(write_assembly(tmp_path, {"Pool": node_pool(**changes)}))
    assert str(error.value) == message


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "[]",
        "{}",
        '{"artifacts": []}',
        '{"artifacts": {"A": {"type": "aws:cloudformation:stack"}}}',
        '{"artifacts": {"A": {"type": "cdk:cloud-assembly"}}}',
    ],
)
def test_fails_when_the_folder_is_no_assembly(tmp_path: Path, text: str | None) -> None:
    """A folder that is no cloud assembly is named, with the repair."""
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ConfigurationError) as error:
        read_needs(tmp_path)
    [problem] = error.value.problems
    assert problem.startswith(
        f"'assembly' must be the folder of a synthesized app, got {str(tmp_path)!r}; "
        "run 'cdk synth' first ("
    )


@pytest.mark.parametrize("manifest", ["{", "[1]", '[{"kind": "NodePool"}]', "[{}]"])
def test_fails_when_a_manifest_is_none(tmp_path: Path, manifest: str) -> None:
    """Objects that nothing can read are a problem of the input, and no traceback."""
    broken = {"Type": MANIFEST_TYPE, "Properties": {"Manifest": manifest}}
    with pytest.raises(ConfigurationError, match="'assembly' must be the folder"):
        read_needs(write_assembly(tmp_path, {"Broken": broken}))


def test_fails_when_clusters_have_two_versions(tmp_path: Path) -> None:
    """One answer about the version needs one version."""
    clusters = {
        text: {"Type": "AWS::EKS::Cluster", "Properties": {"Version": text}}
        for text in ("1.34", "1.35")
    }
    with pytest.raises(ConfigurationError) as error:
        read_needs(write_assembly(tmp_path, clusters))
    assert str(error.value) == (
        "'assembly' must have one version of Kubernetes, got ['1.34', '1.35']; check "
        "one cluster after the other"
    )


def test_images_are_those_of_models(tmp_path: Path) -> None:
    """Of each model on a pool the image is named once; CDK's tokens are filled in."""
    app = cdk.App(outdir=str(tmp_path / "cdk.out"))
    stack = cdk.Stack(app, "Own")
    cluster = imported_cluster(stack)
    pool = GpuInferencePool(
        stack, "Gpu", cluster=cluster, headroom_nodes=1, max_gpus=32
    )
    pod = {"containers": [{"name": "gateway", "image": "ghcr.io/own/gateway:1"}]}
    cluster.add_manifest(
        "Gateway",
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "gateway"},
            "spec": {"template": {"spec": pod}},
        },
    )
    cached = ImageCache(stack, "Images").image_uri("vllm/vllm", tag="0.31.0")
    for name, image in (("a", cached), ("b", cached), ("c", "ghcr.io/own/vllm:1")):
        QueueScaledModel(
            stack,
            name,
            pool=pool,
            image=image,
            model=Model.from_bucket(
                ModelStore(stack, f"{name}-store"),
                "models/m/",
                name=name,
                weights_gb=4,
                max_model_len=4096,
            ),
        )
    folder = Path(app.synth().directory)
    found = {
        region: read_images(folder, account="111122223333", region=region)
        for region in ("eu-central-1", "cn-north-1")
    }
    path = "ecr-public/vllm/vllm:0.31.0"
    assert found == {
        "eu-central-1": (
            f"111122223333.dkr.ecr.eu-central-1.amazonaws.com/{path}",
            "ghcr.io/own/vllm:1",
        ),
        "cn-north-1": (
            f"111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn/{path}",
            "ghcr.io/own/vllm:1",
        ),
    }
