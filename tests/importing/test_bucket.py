"""Tests of an import from a bucket, and of what errors of S3 mean."""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse  # type: ignore[import-untyped]
from botocore.exceptions import (  # type: ignore[import-untyped]
    EndpointConnectionError,
    NoCredentialsError,
)

from eks_inference.importing import job
from eks_inference.importing.bucket import MARKER, BucketSource, Target, s3_errors
from eks_inference.importing.files import (
    BucketDeniedError,
    File,
    ImportFailedError,
    IncompleteModelError,
    InterruptedImportError,
    NotFoundError,
    SourceDeniedError,
)
from tests.importing.conftest import PART, PREFIX, Import, content

SOURCE = "teams/search/chat/"
HELD = {
    "config.json": b"{}",
    "model.safetensors": content(2 * PART + 100),
}
LEFT = {"notes.md": b"not taken", MARKER: b"another import's"}


def refuse(client: Any, operation: str, code: str, status: int) -> None:
    """Make S3 answer an operation with an error, whatever it is about."""
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    if operation.startswith("Head"):
        body = b""

    class Raw(BytesIO):
        def stream(self, **_: object) -> list[bytes]:
            return [body]

    def answer(request: Any, **_: object) -> Any:
        return AWSResponse(request.url, status, {}, Raw())

    client.meta.events.register(f"before-send.s3.{operation}", answer)


@pytest.fixture
def team(
    client: Any, new_bucket: Callable[[str], str], small_parts: None
) -> tuple[str, Target]:
    """A bucket of another team with a model, and where that model goes."""
    del small_parts
    bucket = new_bucket("team")
    for path, data in HELD.items():
        client.put_object(Bucket=bucket, Key=SOURCE + path, Body=data)
    return bucket, Target(client, new_bucket("ours"), PREFIX)


def objects(client: Any, bucket: str) -> dict[str, bytes]:
    """Return what is in a bucket below the prefix of the target."""
    found = client.list_objects_v2(Bucket=bucket, Prefix=PREFIX).get("Contents", [])
    return {
        item["Key"].removeprefix(PREFIX): client.get_object(
            Bucket=bucket, Key=item["Key"]
        )["Body"].read()
        for item in found
    }


def test_s3_copies_the_model(client: Any, team: tuple[str, Target]) -> None:
    """Files go from bucket to bucket, a large one in parts, and the marker is ours."""
    bucket, target = team
    for path, data in LEFT.items():
        client.put_object(Bucket=bucket, Key=SOURCE + path, Body=data)
    job.run(BucketSource(client, bucket, SOURCE, "2026-11"), target, lambda _: None)
    found = objects(client, target.uri.split("/")[2])
    marker = json.loads(found.pop(MARKER))
    assert found == HELD
    assert marker["source"] == {
        "bucket": bucket,
        "prefix": SOURCE,
        "revision": "2026-11",
    }
    assert {item["path"] for item in marker["files"]} == found.keys()
    assert all(item["checksum"].startswith("etag:") for item in marker["files"])


def test_second_copy_reads_nothing(client: Any, team: tuple[str, Target]) -> None:
    """A model that is there is not listed at its source again."""
    bucket, target = team
    source = BucketSource(client, bucket, SOURCE, "2026-11")
    job.run(source, target, lambda _: None)
    refuse(client, "ListObjectsV2", "AccessDenied", 403)
    job.run(source, target, lambda _: None)


def test_what_was_listed_is_what_is_copied(
    client: Any, team: tuple[str, Target]
) -> None:
    """S3 copies and gives a file only as it was listed, large or small."""
    bucket, target = team
    source = BucketSource(client, bucket, SOURCE, "2026-11")
    conditions: dict[str, list[str]] = {}

    def note(params: dict[str, Any], model: Any, **_: object) -> None:
        condition = params.get("CopySourceIfMatch", params.get("IfMatch"))
        conditions.setdefault(model.name, []).append(str(condition))

    client.meta.events.register("provide-client-params.s3", note)
    small, large = source.files()
    for file in (small, large):
        source.send(file, target)
    source.read(small)
    assert conditions["CopyObject"] == conditions["GetObject"]
    assert conditions["CopyObject"] == [small.checksum.removeprefix("etag:")]
    assert conditions["UploadPartCopy"] == [large.checksum.removeprefix("etag:")] * 3


def test_copy_leaves_tags_behind(client: Any, team: tuple[str, Target]) -> None:
    """Tags would need permissions that an import does not have."""
    bucket, target = team
    tags = {"TagSet": [{"Key": "owner", "Value": "search"}]}
    key = f"{SOURCE}config.json"
    client.put_object_tagging(Bucket=bucket, Key=key, Tagging=tags)
    job.run(BucketSource(client, bucket, SOURCE, "1"), target, lambda _: None)
    ours = target.uri.split("/")[2]
    found = client.get_object_tagging(Bucket=ours, Key=f"{PREFIX}config.json")
    assert found["TagSet"] == []


def test_every_part_is_named_with_its_checksum(weights: Import) -> None:
    """S3 is told the checksum of every part again, without which it completes none."""
    completed: list[Any] = []

    def note(params: dict[str, Any], **_: object) -> None:
        completed.extend(params["MultipartUpload"]["Parts"])

    weights.client.meta.events.register(
        "provide-client-params.s3.CompleteMultipartUpload", note
    )
    weights.run()
    assert [part["PartNumber"] for part in completed] == [1, 2, 3]
    assert all(part["ChecksumCRC32"] for part in completed)


@pytest.mark.parametrize("operation", ["CopyObject", "UploadPartCopy"])
def test_fails_when_the_source_changes(
    operation: str, client: Any, team: tuple[str, Target]
) -> None:
    """A file that is replaced between listing and copy ends the attempt."""
    bucket, target = team
    refuse(client, operation, "PreconditionFailed", 412)
    with pytest.raises(InterruptedImportError, match=f"{operation}: Precondition"):
        job.run(BucketSource(client, bucket, SOURCE, "1"), target, lambda _: None)
    ours = target.uri.split("/")[2]
    assert MARKER not in objects(client, ours)
    assert "model.safetensors" not in objects(client, ours)
    assert not client.list_multipart_uploads(Bucket=ours).get("Uploads")


def test_fails_when_the_prefix_is_empty(client: Any, team: tuple[str, Target]) -> None:
    """A prefix without objects is named."""
    source = BucketSource(client, team[0], "teams/none/", "1")
    with pytest.raises(NotFoundError, match="teams/none/ must hold a model, got noth"):
        source.files()


def test_fails_when_a_shard_is_missing(client: Any, team: tuple[str, Target]) -> None:
    """The index of a bucket is read as the Hub's is."""
    bucket, target = team
    index = b'{"weight_map": {"a": "model-00002-of-00002.safetensors"}}'
    key = f"{SOURCE}model.safetensors.index.json"
    client.put_object(Bucket=bucket, Key=key, Body=index)
    with pytest.raises(IncompleteModelError, match="model-00002-of-00002"):
        job.run(BucketSource(client, bucket, SOURCE, "1"), target, lambda _: None)


@pytest.mark.parametrize("code", ["AccessDenied", "KMS.DisabledException"])
@pytest.mark.parametrize(
    "operation",
    [
        "GetObject",
        "HeadObject",
        "PutObject",
        "CreateMultipartUpload",
        "UploadPart",
        "CompleteMultipartUpload",
    ],
)
def test_fails_when_the_bucket_refuses(
    operation: str, code: str, weights: Import
) -> None:
    """Whatever S3 refuses is said with its name, and no marker is written."""
    refuse(weights.client, operation, code, 403)
    with pytest.raises(BucketDeniedError) as refused:
        weights.run()
    code = "403" if operation == "HeadObject" else code
    assert str(refused.value) == (
        f"bucket '{weights.bucket}', {operation}: {code}; see the policies of role, "
        "bucket and key"
    )
    listed = weights.client.list_objects_v2(Bucket=weights.bucket).get("Contents", [])
    assert not [item for item in listed if item["Key"].endswith(MARKER)]
    assert weights.uploads() == []


def test_fails_when_the_source_refuses(client: Any, team: tuple[str, Target]) -> None:
    """A refusal of the other bucket is not taken for one of ours."""
    refuse(client, "ListObjectsV2", "AccessDenied", 403)
    with pytest.raises(SourceDeniedError, match="ListObjectsV2: AccessDenied"):
        BucketSource(client, team[0], SOURCE, "1").files()


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (NoCredentialsError(), BucketDeniedError, "the pod has no credentials"),
        (
            EndpointConnectionError(endpoint_url="https://s3"),
            InterruptedImportError,
            "Could not connect",
        ),
    ],
)
def test_errors_below_s3_have_a_meaning(
    error: Exception, kind: type[ImportFailedError], message: str
) -> None:
    """No credentials are a refusal, no connection is an interruption."""
    with pytest.raises(kind, match=message), s3_errors("models"):
        raise error


def test_passing_error_of_s3_is_an_interruption(weights: Import) -> None:
    """What S3 cannot do now, another attempt may."""
    refuse(weights.client, "CompleteMultipartUpload", "InternalError", 500)
    with pytest.raises(InterruptedImportError, match="InternalError"):
        weights.run()
    assert weights.uploads() == []


def test_object_of_another_checksum_is_not_kept(weights: Import) -> None:
    """Of the same size and name is not the same content."""
    data = weights.hub.files["config.json"]
    key = f"{PREFIX}config.json"
    weights.client.put_object(Bucket=weights.bucket, Key=key, Body=b"x" * len(data))
    file = File("config.json", len(data), "git-sha1:0")
    assert not weights.target.has(file)
    weights.run()
    assert weights.objects()["config.json"] == data
