"""Tests of the volume on which models share what torch.compile has produced."""

from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_efs as efs
from constructs import IDependable
from syrupy.assertion import SnapshotAssertion

from eks_inference import CompileCache, ICompileCache
from eks_inference.manifests import VLLM_USER
from eks_inference.testing import MANIFEST_TYPE, manifests, without_asset_hashes
from tests.library.cases import one, resources, template
from tests.library.conftest import (
    import_cluster,
    import_group,
    import_vpc,
    refusal,
)

FILES = "AWS::EFS::FileSystem"
TARGET = "AWS::EFS::MountTarget"
POINT = "AWS::EFS::AccessPoint"
CASES = ["cache-smallest", "cache-everything"]
PARTS = {FILES, TARGET, POINT, "AWS::EC2::SecurityGroup"}


def only(case: str, type: str) -> dict[str, Any]:
    """Return the only resource of a type in a case."""
    [found] = resources(case, type).values()
    resource: dict[str, Any] = found
    return resource


def volume_id(case: str) -> str:
    """Return the logical id of what applies volume and claim."""
    [found] = [key for key in resources(case, MANIFEST_TYPE) if key.startswith("Kern")]
    return found


def needs_of_a_model(cache: ICompileCache) -> tuple[str, IDependable | None]:
    """Return what a model asks of its cache; mypy says whether a cache has it."""
    return cache.claim_name, cache.manifest


@pytest.mark.parametrize("case", CASES)
def test_template(case: str, snapshot: SnapshotAssertion) -> None:
    """Resources and objects are the recorded ones, with few arguments and with all."""
    found = {
        "resources": {
            key: resource
            for key, resource in template(case)["Resources"].items()
            if resource["Type"] in PARTS
        },
        "manifests": manifests(template(case))[volume_id(case)],
    }
    assert without_asset_hashes(found) == snapshot


@pytest.mark.parametrize(
    ("case", "policy"), [("cache-smallest", "Retain"), ("cache-everything", "Delete")]
)
def test_file_system_is_encrypted_and_stays(case: str, policy: str) -> None:
    """Kernels are encrypted, and go with the stack only where that is asked for."""
    found = only(case, FILES)
    assert found["Properties"]["Encrypted"] is True
    assert found["Properties"]["ThroughputMode"] == "elastic"
    assert found["DeletionPolicy"] == found["UpdateReplacePolicy"] == policy


def test_file_system_has_its_key() -> None:
    """A given key encrypts the files; without one AWS's own does."""
    assert "KmsKeyId" not in only("cache-smallest", FILES)["Properties"]
    assert only("cache-everything", FILES)["Properties"]["KmsKeyId"] == (
        "arn:aws:kms:eu-central-1:111122223333:key/weights"
    )


def test_nobody_is_root_or_in_the_clear() -> None:
    """The policy allows mounting and writing, over the network and encrypted only."""
    policy = only("cache-smallest", FILES)["Properties"]["FileSystemPolicy"]
    allowed, denied = policy["Statement"]
    assert allowed["Action"] == [
        "elasticfilesystem:ClientMount",
        "elasticfilesystem:ClientWrite",
    ]
    assert allowed["Condition"] == {
        "Bool": {"elasticfilesystem:AccessedViaMountTarget": True}
    }
    assert denied["Effect"] == "Deny"
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": False}}
    assert "elasticfilesystem:ClientRootAccess" in denied["Action"]


@pytest.mark.parametrize(
    ("case", "count"), [("cache-smallest", 2), ("cache-everything", 1)]
)
def test_every_subnet_has_a_mount_target(case: str, count: int) -> None:
    """There is one mount target for each subnet, behind the cache's own group."""
    targets = resources(case, TARGET).values()
    assert len(targets) == count
    [group_id] = resources(case, "AWS::EC2::SecurityGroup")
    for target in targets:
        assert target["Properties"]["SecurityGroups"] == [
            {"Fn::GetAtt": [group_id, "GroupId"]}
        ]


def test_only_nodes_are_admitted() -> None:
    """The group admits NFS from the nodes' group, and lets nothing out."""
    [rule] = resources("cache-smallest", "AWS::EC2::SecurityGroupIngress").values()
    properties = rule["Properties"]
    assert properties["SourceSecurityGroupId"] == "sg-0123456789abcdef0"
    assert (properties["FromPort"], properties["ToPort"]) == (2049, 2049)
    group = only("cache-smallest", "AWS::EC2::SecurityGroup")["Properties"]
    [egress] = group["SecurityGroupEgress"]
    assert egress["CidrIp"] == "255.255.255.255/32"


def test_everyone_writes_as_vllms_user() -> None:
    """The access point makes every client the user that the pods run as."""
    properties = only("cache-smallest", POINT)["Properties"]
    assert properties["PosixUser"] == {"Uid": str(VLLM_USER), "Gid": "0"}
    assert properties["RootDirectory"] == {
        "Path": "/compile-cache",
        "CreationInfo": {
            "OwnerUid": str(VLLM_USER),
            "OwnerGid": "0",
            "Permissions": "0770",
        },
    }


@pytest.mark.parametrize(
    ("case", "namespace", "name"),
    [
        ("cache-smallest", "inference", "vllm-compile-cache"),
        ("cache-everything", "search", "kernels"),
    ],
)
def test_claim_and_volume_name_each_other(case: str, namespace: str, name: str) -> None:
    """The claim takes its own volume, and no other claim can take it."""
    claim, volume = (
        one(case, kind) for kind in ("PersistentVolumeClaim", "PersistentVolume")
    )
    assert claim["metadata"] == {"name": name, "namespace": namespace}
    assert volume["spec"]["claimRef"] == claim["metadata"]
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"]
    assert claim["spec"]["accessModes"] == volume["spec"]["accessModes"]
    assert claim["spec"]["storageClassName"] == volume["spec"]["storageClassName"]
    [files_id], [point_id] = resources(case, FILES), resources(case, POINT)
    assert volume["spec"]["csi"] == {
        "driver": "efs.csi.aws.com",
        "volumeHandle": f"${{{files_id}}}::${{{point_id}}}",
    }


def test_volume_comes_after_its_mount_targets() -> None:
    """Nobody mounts before every mount target is there."""
    applied = resources("cache-everything", MANIFEST_TYPE)
    waits = applied[volume_id("cache-everything")]["DependsOn"]
    assert set(resources("cache-everything", TARGET)) <= set(waits)


def test_model_mounts_the_claim_after_it_exists() -> None:
    """The pods of a model come after the volume, and mount its claim."""
    applied = resources("cache-everything", MANIFEST_TYPE)
    [model_id] = [key for key in applied if key.startswith("Chat")]
    assert volume_id("cache-everything") in applied[model_id]["DependsOn"]
    pod = one("cache-everything", "Deployment")["spec"]["template"]["spec"]
    assert {
        "name": "cache",
        "persistentVolumeClaim": {"claimName": "kernels"},
    } in pod["volumes"]


def test_attributes_are_what_others_need(stack: cdk.Stack) -> None:
    """File system, access point, claim and manifest are readable."""
    made = CompileCache(
        stack,
        "Kernels",
        cluster=import_cluster(stack),
        vpc=import_vpc(stack),
        node_security_group=import_group(stack),
    )
    assert needs_of_a_model(made) == ("vllm-compile-cache", made.manifest)
    assert isinstance(made.file_system, efs.FileSystem)
    assert isinstance(made.access_point, efs.AccessPoint)
    assert made.node.default_child is made.file_system


def test_existing_claim_is_named() -> None:
    """A claim that exists has a name and nothing to wait for."""
    assert needs_of_a_model(CompileCache.from_claim_name("kernels")) == (
        "kernels",
        None,
    )


@pytest.mark.parametrize("name", ["", "Kernels", "a/b", "k" * 64, 7])
def test_fails_when_the_claim_is_no_dns_label(name: str) -> None:
    """A claim that Kubernetes would refuse is refused."""
    assert refusal(lambda: CompileCache.from_claim_name(name)) == (
        "compile cache: 'claim_name' must be a DNS label of at most 63 characters "
        f"(a-z, 0-9 and '-', starting with a letter), got {name!r}"
    )


def test_logical_ids_are_stable() -> None:
    """The ids of what keeps kernels are pinned: another id would lose them."""
    assert list(resources("cache-smallest", FILES)) == ["Kernels9A294C37"]
    assert list(resources("cache-smallest", POINT)) == ["KernelsAccessPoint568B7FFF"]
