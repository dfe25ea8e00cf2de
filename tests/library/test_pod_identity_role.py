"""Tests of the role that the pods of one service account get."""

from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from syrupy.assertion import SnapshotAssertion

from eks_inference import PodIdentityRole
from eks_inference.testing import without_asset_hashes
from tests.library.cases import resources, template
from tests.library.conftest import import_cluster

ROLE = "AWS::IAM::Role"
ASSOCIATION = "AWS::EKS::PodIdentityAssociation"


def only(name: str, type: str) -> dict[str, Any]:
    """Return the properties of the only resource of a type in a case."""
    [found] = resources(name, type).values()
    properties: dict[str, Any] = found["Properties"]
    return properties


@pytest.mark.parametrize("case", ["role-smallest", "role-everything"])
def test_template(case: str, snapshot: SnapshotAssertion) -> None:
    """The whole template is the recorded one, with few arguments and with all."""
    assert without_asset_hashes(template(case)["Resources"]) == snapshot


def test_association_binds_the_role_to_the_account() -> None:
    """The association names cluster, namespace, service account and the role itself."""
    [role_id] = resources("role-smallest", ROLE)
    assert only("role-smallest", ASSOCIATION) == {
        "ClusterName": "role-smallest",
        "Namespace": "inference",
        "ServiceAccount": "mistral",
        "RoleArn": {"Fn::GetAtt": [role_id, "Arn"]},
    }


def test_only_pods_of_this_account_assume_the_role() -> None:
    """Pod Identity alone assumes the role, with session tags, for this account."""
    [statement] = only("role-smallest", ROLE)["AssumeRolePolicyDocument"]["Statement"]
    assert statement == {
        "Effect": "Allow",
        "Principal": {"Service": "pods.eks.amazonaws.com"},
        "Action": ["sts:AssumeRole", "sts:TagSession"],
        "Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
    }


def test_role_can_do_nothing_by_default() -> None:
    """Without statements and grants the role has no policy at all."""
    assert not {"Policies", "ManagedPolicyArns"} & only("role-smallest", ROLE).keys()


def test_description_names_the_account_by_default() -> None:
    """The description says whose role it is, unless another one is given."""
    description = only("role-smallest", ROLE)["Description"]
    assert description == "Pods of service account inference/mistral"
    assert only("role-everything", ROLE)["Description"] == "Reads the queue"


def test_statements_become_inline_policies() -> None:
    """Statements are taken as they are, under their name."""
    [policy] = only("role-everything", ROLE)["Policies"]
    assert policy["PolicyName"] == "Queue"
    [statement] = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == "sqs:GetQueueAttributes"


def test_role_is_a_grantee() -> None:
    """Grants of other constructs go to the role."""
    [policy] = resources("role-everything", "AWS::IAM::Policy").values()
    [role_id] = resources("role-everything", ROLE)
    assert policy["Properties"]["Roles"] == [{"Ref": role_id}]


def test_role_is_the_default_child(stack: cdk.Stack) -> None:
    """Escape hatches reach the role as the construct's default child."""
    made = PodIdentityRole(
        stack,
        "Role",
        cluster=import_cluster(stack),
        namespace="inference",
        service_account="mistral",
    )
    assert isinstance(made.role, iam.Role)
    assert made.node.default_child is made.role
    assert made.association.service_account == "mistral"
