"""No way in, no secret in a template, nothing in the clear."""

import json
import re

import pytest

from infra.stages import STAGES
from tests.app.good_settings import OFFICE
from tests.app.policies import Synthesis, policies, synthesis


def test_control_plane_is_private_and_logged(made: Synthesis) -> None:
    """Rules EKS1 and EKS2, which do not see this cluster: private, five logs, a key."""
    [(_, _, cluster)] = made.resources("AWS::EKS::Cluster")
    access = cluster["Properties"]["ResourcesVpcConfig"]
    assert access["EndpointPrivateAccess"] is True
    if access["EndpointPublicAccess"]:
        assert access["PublicAccessCidrs"] == [OFFICE]
    enabled = cluster["Properties"]["Logging"]["ClusterLogging"]["EnabledTypes"]
    assert {item["Type"] for item in enabled} == {
        "api",
        "audit",
        "authenticator",
        "controllerManager",
        "scheduler",
    }
    [encryption] = cluster["Properties"]["EncryptionConfig"]
    assert encryption["Resources"] == ["secrets"]
    assert encryption["Provider"]["KeyArn"]
    authentication = cluster["Properties"]["AccessConfig"]
    assert authentication["AuthenticationMode"] == "API"
    assert authentication["BootstrapClusterCreatorAdminPermissions"] is False


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_no_stage_opens_the_api_to_the_internet(stage: str) -> None:
    """The API of every stage of the app answers inside the VPC only."""
    [(_, _, cluster)] = synthesis(stage).resources("AWS::EKS::Cluster")
    access = cluster["Properties"]["ResourcesVpcConfig"]
    assert access["EndpointPublicAccess"] is False


SECRETS = {
    "access key": re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b"),
    "secret key": re.compile(r'"(?=[^"]*[a-z])(?=[^"]*[A-Z])[A-Za-z0-9/+]{40}"'),
    "private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "token": re.compile(r"\b(hf|ghp|gho|xox[bp]|sk)[_-][A-Za-z0-9]{20,}\b"),
    "password": re.compile(
        r'(?i)"[^"]*(password|secret_?key|api_?key|token)\\*": *\\*"[^"]'
    ),
}
"""What a credential looks like, in a template or in a manifest within one."""


def test_templates_hold_no_secret(made: Synthesis) -> None:
    """No template has a literal that looks like a credential."""
    for template in made.templates.values():
        resources = template["Resources"].values()
        text = json.dumps([resource.get("Properties") for resource in resources])
        for name in template["Resources"]:
            text = text.replace(f'"{name}"', '""')
        assert [name for name, form in SECRETS.items() if form.search(text)] == []


@pytest.mark.parametrize(
    ("kind", "sample"),
    [
        ("access key", '"AKIA' + "A" * 16 + '"'),
        ("secret key", '"wJalrXUtnFEMI/K7MDENG/' + 'bPxRfiCYEXAMPLEKEY"'),
        ("private key", "-----BEGIN RSA " + "PRIVATE KEY-----"),
        ("token", '"hf_' + "a" * 34 + '"'),
        ("password", '"DbPassword": "hunter2"'),
        ("password", json.dumps(json.dumps({"api_key": "hunter2"}))),
    ],
)
def test_secrets_would_be_recognized(kind: str, sample: str) -> None:
    """The forms of credentials match a credential of their kind."""
    assert SECRETS[kind].search(sample)


def test_parameters_have_no_values(made: Synthesis) -> None:
    """The only parameter is CDK's version of the bootstrap stack."""
    for template in made.templates.values():
        [(name, parameter)] = template["Parameters"].items()
        assert name == "BootstrapVersion"
        assert parameter["Default"].startswith("/cdk-bootstrap/")


def test_no_instance_gets_a_public_address(made: Synthesis) -> None:
    """No subnet hands out public addresses."""
    subnets = list(made.resources("AWS::EC2::Subnet"))
    assert subnets
    for _, _, subnet in subnets:
        assert subnet["Properties"].get("MapPublicIpOnLaunch", False) is False


def test_no_group_admits_the_internet(made: Synthesis) -> None:
    """No security group has a rule for traffic from anywhere."""
    rules = [
        rule
        for _, _, group in made.resources("AWS::EC2::SecurityGroup")
        for rule in group["Properties"].get("SecurityGroupIngress", [])
    ]
    rules += [
        rule["Properties"]
        for _, _, rule in made.resources("AWS::EC2::SecurityGroupIngress")
    ]
    assert rules
    for rule in rules:
        assert rule.get("CidrIp") != "0.0.0.0/0"
        assert "CidrIpv6" not in rule
        assert rule["IpProtocol"] == "tcp"
        assert rule["FromPort"] == rule["ToPort"]


def test_buckets_are_private_and_encrypted(made: Synthesis) -> None:
    """Every bucket blocks public access, uses a key of ours and refuses plain HTTP."""
    buckets = list(made.resources("AWS::S3::Bucket"))
    assert buckets
    for _, _, bucket in buckets:
        properties = bucket["Properties"]
        assert properties["PublicAccessBlockConfiguration"] == {
            "BlockPublicAcls": True,
            "BlockPublicPolicy": True,
            "IgnorePublicAcls": True,
            "RestrictPublicBuckets": True,
        }
        [rule] = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        default = rule["ServerSideEncryptionByDefault"]
        assert default["SSEAlgorithm"] == "aws:kms"
        assert default["KMSMasterKeyID"]


@pytest.mark.parametrize(
    "owner", ["Storage/Models/Resource/Policy", "Platform/Interruptions/Policy"]
)
def test_plain_http_is_denied(made: Synthesis, owner: str) -> None:
    """The resource policies deny every request that is not encrypted."""
    [policy] = [item for item in policies(made) if item.owner == owner]
    denials = [item for item in policy.statements if item["Effect"] == "Deny"]
    assert [item["Condition"] for item in denials] == [
        {"Bool": {"aws:SecureTransport": "false"}}
    ]


def test_everything_at_rest_is_encrypted(made: Synthesis) -> None:
    """File systems, queues, and the volumes of system nodes are encrypted."""
    for _, _, file_system in made.resources("AWS::EFS::FileSystem"):
        assert file_system["Properties"]["Encrypted"] is True
        assert file_system["Properties"]["KmsKeyId"]
    for _, _, queue in made.resources("AWS::SQS::Queue"):
        assert queue["Properties"]["SqsManagedSseEnabled"] is True
    for _, _, template in made.resources("AWS::EC2::LaunchTemplate"):
        volumes = template["Properties"]["LaunchTemplateData"]["BlockDeviceMappings"]
        assert {volume["Ebs"]["Encrypted"] for volume in volumes} == {True}
    for _, _, key in made.resources("AWS::KMS::Key"):
        assert key["Properties"]["EnableKeyRotation"] is True


def test_file_system_refuses_root_and_plain_text(made: Synthesis) -> None:
    """Nobody is root on the compile cache, and the connection must be encrypted."""
    [policy] = [item for item in policies(made) if item.owner == "Storage/CompileCache"]
    allowed, denied = policy.statements
    assert (allowed["Effect"], denied["Effect"]) == ("Allow", "Deny")
    assert "elasticfilesystem:ClientRootAccess" not in allowed["Action"]
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": False}}
    assert set(allowed["Action"]) < set(denied["Action"])
