"""Storage: the bucket of the weights and the compile cache."""

import json

import pytest

from eks_inference.manifests import VLLM_USER
from eks_inference.testing import as_text
from tests.app.conftest import (
    Templates,
    only,
    other_choices,
    resources,
    stage_templates,
    statements,
    synthesize,
)
from tests.app.questions import exported, pod, private_subnets


def test_compile_cache_is_an_encrypted_elastic_file_system(
    templates: Templates,
) -> None:
    """The compile cache is encrypted with the storage key and pays for what it uses."""
    system = only(templates["Storage"], "AWS::EFS::FileSystem")
    [key] = resources(templates["Storage"], "AWS::KMS::Key")
    assert system["Encrypted"] is True
    assert system["KmsKeyId"] == {"Fn::GetAtt": [key, "Arn"]}
    assert system["ThroughputMode"] == "elastic"


@pytest.mark.parametrize("account", [None, "111122223333"])
def test_compile_cache_is_mounted_in_every_zone(account: str | None) -> None:
    """Each private subnet has a mount target: a pod waits for ever without one."""
    templates = stage_templates("dev", account, account and "us-east-1")
    targets = resources(templates["Storage"], "AWS::EFS::MountTarget").values()
    used = [as_text(item["SubnetId"]) for item in targets]
    private = private_subnets(templates["Network"])
    assert used == exported(templates["Network"], private)
    assert len(used) == (3 if account else 2)


def test_compile_cache_admits_nodes_on_2049_only(templates: Templates) -> None:
    """Only members of the cluster's security group reach the file system, by NFS."""
    storage = templates["Storage"]
    [(group, properties)] = resources(storage, "AWS::EC2::SecurityGroup").items()
    rule = only(storage, "AWS::EC2::SecurityGroupIngress")
    [cluster] = resources(templates["Cluster"], "AWS::EKS::Cluster")
    nodes = exported(templates["Cluster"], [f"{cluster}.ClusterSecurityGroupId"])
    assert "SecurityGroupIngress" not in properties
    assert rule["GroupId"] == {"Fn::GetAtt": [group, "GroupId"]}
    assert [as_text(rule["SourceSecurityGroupId"])] == nodes
    assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == (
        *("tcp", 2049),
        2049,
    )
    for target in resources(storage, "AWS::EFS::MountTarget").values():
        assert target["SecurityGroups"] == [{"Fn::GetAtt": [group, "GroupId"]}]


def test_compile_cache_belongs_to_the_user_of_the_pods(templates: Templates) -> None:
    """The access point writes as the user that the pods run as."""
    point = only(templates["Storage"], "AWS::EFS::AccessPoint")
    user = {"Uid": str(VLLM_USER), "Gid": "0"}
    security = pod(templates, "mistral-7b")["securityContext"]
    assert point["PosixUser"] == user
    assert point["RootDirectory"]["CreationInfo"] == {
        "OwnerUid": str(VLLM_USER),
        "OwnerGid": "0",
        "Permissions": "0770",
    }
    assert (security["runAsUser"], security["runAsGroup"]) == (VLLM_USER, 0)


def test_compile_cache_needs_tls_and_admits_no_root(templates: Templates) -> None:
    """Connections without TLS are refused, and nobody is allowed to be root."""
    system = only(templates["Storage"], "AWS::EFS::FileSystem")
    allowed, denied = statements(system["FileSystemPolicy"])
    assert allowed["Effect"] == ["Allow"]
    assert allowed["Action"] == [
        "elasticfilesystem:ClientMount",
        "elasticfilesystem:ClientWrite",
    ]
    assert denied["Effect"] == ["Deny"]
    assert denied["Condition"] == [{"Bool": {"aws:SecureTransport": False}}]
    assert "elasticfilesystem:ClientMount" in denied["Action"]


def test_compile_cache_is_one_argument() -> None:
    """Without the shared cache there is no file system, and no claim for it."""
    templates = synthesize(other_choices())
    assert resources(templates["Storage"], "AWS::EFS::FileSystem") == {}
    assert "CompileCache" not in json.dumps(templates)


def test_model_bucket_is_private_and_encrypted(templates: Templates) -> None:
    """The weights are encrypted with the storage key and never public."""
    bucket = only(templates["Storage"], "AWS::S3::Bucket")
    [key] = resources(templates["Storage"], "AWS::KMS::Key")
    [rule] = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert rule["BucketKeyEnabled"] is True
    assert rule["ServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "aws:kms",
        "KMSMasterKeyID": {"Fn::GetAtt": [key, "Arn"]},
    }


def test_model_bucket_needs_tls(templates: Templates) -> None:
    """Requests without TLS are refused for the bucket and for its objects."""
    policy = only(templates["Storage"], "AWS::S3::BucketPolicy")
    denied = statements(policy["PolicyDocument"])[0]
    assert denied["Effect"] == ["Deny"]
    assert denied["Action"] == ["s3:*"]
    assert denied["Condition"] == [{"Bool": {"aws:SecureTransport": "false"}}]
    assert len(denied["Resource"]) == 2


def test_model_bucket_keeps_versions_for_a_while(templates: Templates) -> None:
    """A deleted version can be restored for 30 days; a broken upload is cleaned up."""
    bucket = only(templates["Storage"], "AWS::S3::Bucket")
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["LifecycleConfiguration"]["Rules"] == [
        {
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 3},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
            "Status": "Enabled",
        }
    ]
