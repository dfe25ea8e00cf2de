"""Tests of the bucket for the weights of models."""

from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from syrupy.assertion import SnapshotAssertion

from eks_inference import ModelStore
from eks_inference.manifests.model_import import IMPORT_DEADLINE_SECONDS
from eks_inference.testing import as_text, without_asset_hashes
from tests.library.cases import resources, template
from tests.library.conftest import children, import_key, import_role, refusal

BUCKET = "AWS::S3::Bucket"
KEY = "AWS::KMS::Key"
PREFIX = (
    "model store 'Models': 'prefix' must be a key prefix: names of letters, digits and "
    "'._=+@-', with a '/' behind each, got {!r}"
)


def only(case: str, type: str) -> dict[str, Any]:
    """Return the only resource of a type in a case."""
    [found] = resources(case, type).values()
    resource: dict[str, Any] = found
    return resource


def granted(role: str) -> list[dict[str, Any]]:
    """Return what a role may do on the store of the case with grants."""
    [policy] = [
        item["Properties"]
        for item in resources("store-grants", "AWS::IAM::Policy").values()
        if item["Properties"]["Roles"] == [role]
    ]
    found: list[dict[str, Any]] = policy["PolicyDocument"]["Statement"]
    return found


def expected(
    prefix: str, objects: str | list[str], key: str | list[str]
) -> list[dict[str, Any]]:
    """Return the statements about a prefix, with the actions on objects and key."""
    [bucket_id] = resources("store-grants", BUCKET)
    [key_id] = resources("store-grants", KEY)
    arn = {"Fn::GetAtt": [bucket_id, "Arn"]}
    return [
        {
            "Effect": "Allow",
            "Action": objects,
            "Resource": {"Fn::Join": ["", [arn, f"/{prefix}*"]]},
        },
        {
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": arn,
            "Condition": {"StringLike": {"s3:prefix": f"{prefix}*"}},
        },
        {
            "Effect": "Allow",
            "Action": key,
            "Resource": {"Fn::GetAtt": [key_id, "Arn"]},
        },
    ]


@pytest.mark.parametrize("case", ["store-smallest", "store-everything"])
def test_template(case: str, snapshot: SnapshotAssertion) -> None:
    """The whole template is the recorded one, with few arguments and with all."""
    assert without_asset_hashes(template(case)["Resources"]) == snapshot


def test_default_is_private_encrypted_versioned_and_stays() -> None:
    """Without arguments nothing is public, in the clear, or lost with the stack."""
    bucket = only("store-smallest", BUCKET)
    properties = bucket["Properties"]
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    [encryption] = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    [key_id] = resources("store-smallest", KEY)
    assert encryption == {
        "BucketKeyEnabled": True,
        "ServerSideEncryptionByDefault": {
            "SSEAlgorithm": "aws:kms",
            "KMSMasterKeyID": {"Fn::GetAtt": [key_id, "Arn"]},
        },
    }
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    key = only("store-smallest", KEY)
    assert key["Properties"]["EnableKeyRotation"] is True
    for resource in (bucket, key):
        assert resource["DeletionPolicy"] == "Retain"
        assert resource["UpdateReplacePolicy"] == "Retain"


def test_bucket_answers_over_tls_only() -> None:
    """Whoever asks in the clear is refused, whatever else is allowed."""
    policy = only("store-smallest", "AWS::S3::BucketPolicy")["Properties"]
    [statement] = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Deny", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


@pytest.mark.parametrize(
    ("case", "days"), [("store-smallest", 30), ("store-everything", 7)]
)
def test_old_versions_end(case: str, days: int) -> None:
    """What was replaced goes after the stated days, what never arrived after three."""
    configuration = only(case, BUCKET)["Properties"]["LifecycleConfiguration"]
    [rule] = configuration["Rules"]
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": days}
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 3}


def test_import_that_is_under_way_is_left_alone() -> None:
    """An upload is ended for good only when no import can still be at it."""
    configuration = only("store-smallest", BUCKET)["Properties"]
    [rule] = configuration["LifecycleConfiguration"]["Rules"]
    days = rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
    assert days * 86_400 > IMPORT_DEADLINE_SECONDS


def test_given_key_and_policy_are_used() -> None:
    """With a key none is made, and with DESTROY the bucket goes with its objects."""
    assert not resources("store-everything", KEY)
    assert only("store-everything", BUCKET)["DeletionPolicy"] == "Delete"
    assert only("store-everything", "Custom::S3AutoDeleteObjects")
    assert not resources("store-smallest", "Custom::S3AutoDeleteObjects")


def test_reader_can_read_its_prefix() -> None:
    """Reading is reading and listing below one prefix, and decrypting."""
    assert granted("Reader") == expected("models/chat/", "s3:GetObject", "kms:Decrypt")


def test_writer_can_write_its_prefix() -> None:
    """Writing is reading, and writing, deleting and encrypting below one prefix."""
    assert granted("Writer") == expected(
        "models/",
        [
            "s3:AbortMultipartUpload",
            "s3:DeleteObject",
            "s3:GetObject",
            "s3:PutObject",
        ],
        ["kms:Decrypt", "kms:GenerateDataKey"],
    )


def test_grants_are_grants(stack: cdk.Stack) -> None:
    """What a grant returns is CDK's, with all of its statements."""
    store = ModelStore(stack, "Models")
    role = iam.Role(stack, "Role", assumed_by=iam.AccountRootPrincipal())
    for grant in (store.grant_read(role, "a/"), store.grant_write(role, "b/")):
        assert isinstance(grant, iam.Grant)
        assert grant.success
        assert len(grant.principal_statements) == 3


@pytest.mark.parametrize("prefix", ["", "models", "/models/", "models/*/", "a/../b/"])
@pytest.mark.parametrize("grant", ["grant_read", "grant_write"])
def test_fails_when_a_prefix_is_none(grant: str, prefix: str, stack: cdk.Stack) -> None:
    """A prefix that would reach further than it says is refused, and grants nothing."""
    store = ModelStore(stack, "Models")
    role = import_role(stack, "Reader")
    before = children(stack)
    assert refusal(lambda: getattr(store, grant)(role, prefix)) == PREFIX.format(prefix)
    assert children(stack) == before


def test_model_reads_and_decrypts_from_the_store() -> None:
    """A store is a model's bucket, whose key the model's role may use."""
    [role] = [
        item
        for key, item in resources("store-model", "AWS::IAM::Role").items()
        if key.startswith("Chat")
    ]
    [policy] = role["Properties"]["Policies"]
    [bucket_id] = resources("store-model", BUCKET)
    [key_id] = resources("store-model", KEY)
    read, listed, decrypt = policy["PolicyDocument"]["Statement"]
    assert as_text(read["Resource"]) == f"${{{bucket_id}.Arn}}/models/mistral/*"
    assert as_text(listed["Resource"]) == f"${{{bucket_id}.Arn}}"
    assert decrypt["Action"] == "kms:Decrypt"
    assert decrypt["Resource"] == {"Fn::GetAtt": [key_id, "Arn"]}


def test_attributes_are_those_of_the_bucket(stack: cdk.Stack) -> None:
    """Bucket, key, name and ARN of a store are readable."""
    key = import_key(stack)
    store = ModelStore(stack, "Models", encryption_key=key)
    assert isinstance(store.bucket, s3.Bucket)
    assert store.encryption_key is key
    assert store.bucket_name == store.bucket.bucket_name
    assert store.bucket_arn == store.bucket.bucket_arn
    assert store.node.default_child is store.bucket
    assert isinstance(ModelStore(stack, "Other").encryption_key, kms.Key)


def test_logical_ids_are_stable() -> None:
    """The ids of bucket and key are pinned: another id would leave the weights."""
    assert list(resources("store-smallest", BUCKET)) == ["Models7F217E31"]
    assert list(resources("store-smallest", KEY)) == ["ModelsKeyC1527AC1"]
