"""Tests of the Lambda function that pulls images through a cache."""

import json
from collections.abc import Iterator
from typing import Any, Protocol
from urllib.request import HTTPSHandler, build_opener

import boto3  # type: ignore[import-untyped]
import pytest
from moto import mock_aws

from tests.library.cases import DIGEST
from tests.library.cloudformation import Clock, Context, cloudformation, load
from tests.library.registry import (
    Registry,
    error,
    image_manifest,
    listening,
    rerouted,
)

image_pull = load("image_pull")

REPOSITORY = "ecr-public/deep-learning-containers/vllm"
HOST = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The function's time."""
    clock = Clock()
    monkeypatch.setattr(image_pull, "time", clock)
    return clock


@pytest.fixture
def ecr(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """ECR's API, in memory."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    with mock_aws():
        yield boto3.client("ecr")


@pytest.fixture
def registry(
    ecr: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Registry]:
    """The registry of the account, on loopback."""
    registry = Registry(ecr, clock)
    with listening(registry):
        reroute(monkeypatch, registry.address)
        yield registry


def reroute(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Let the function's own opener speak to a loopback address."""
    kept = [
        handler
        for handler in image_pull.OPENER.handlers
        if not isinstance(handler, HTTPSHandler)
    ]
    opener = build_opener(*kept, rerouted(address, HOST))
    monkeypatch.setattr(image_pull, "OPENER", opener)


class Asked(Protocol):
    """Calls the function, and returns its answer."""

    def __call__(
        self, kind: str, *images: str, seconds: int = 900, **changes: str
    ) -> dict[str, Any]:
        """Send a request for some images."""


@pytest.fixture
def ask(registry: Registry) -> Iterator[Asked]:  # noqa: ARG001 - what it asks
    """The function, as CloudFormation calls it."""
    with cloudformation() as sender:

        def ask(
            kind: str, *images: str, seconds: int = 900, **changes: str
        ) -> dict[str, Any]:
            properties: dict[str, Any] = {
                "Repository": REPOSITORY,
                # CloudFormation turns truth values into texts
                "DeleteRepository": "false",
                "Images": list(images),
                **changes,
            }
            request = sender.request(kind, properties, known_as=REPOSITORY)
            image_pull.handler(request, Context(seconds))
            return sender.answers[-1]

        yield ask


def listed(ecr: Any) -> list[str]:
    """Return the tags that ECR lists."""
    images = ecr.list_images(repositoryName=REPOSITORY)["imageIds"]
    return sorted(image["imageTag"] for image in images)


def test_image_is_in_the_registry_when_it_is_done(
    ecr: Any, registry: Registry, ask: Asked, clock: Clock
) -> None:
    """After a pull ECR lists the image, and the answer names its digest."""
    manifest = image_manifest("vllm")
    digest = registry.push("0.31.0", ("", manifest))
    assert ask("Create", "0.31.0") == {
        "Status": "SUCCESS",
        "PhysicalResourceId": REPOSITORY,
        "StackId": "arn:aws:cloudformation:eu-central-1:111122223333:stack/s/1",
        "RequestId": "42",
        "LogicalResourceId": "Resource",
        "Data": {"Images": f"0.31.0@{digest} cached"},
    }
    assert listed(ecr) == ["0.31.0"]
    blobs = [manifest["config"], *manifest["layers"]]
    assert registry.asked == [
        "manifests/0.31.0",
        *(f"blobs/{blob['digest']}" for blob in blobs),
    ]
    assert clock.now == image_pull.POLL_SECONDS


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_cached_image_costs_one_request(
    kind: str, registry: Registry, ask: Asked, clock: Clock
) -> None:
    """An image that ECR lists is neither pulled nor waited for again."""
    registry.push("0.31.0", ("", image_manifest("vllm")))
    ask("Create", "0.31.0")
    registry.asked.clear()
    before = clock.now
    assert ask(kind, "0.31.0")["Data"]["Images"].endswith(" cached")
    assert registry.asked == ["manifests/0.31.0"]
    assert clock.now == before


def test_waits_for_a_slow_import(
    ecr: Any, registry: Registry, ask: Asked, clock: Clock
) -> None:
    """The answer comes when the whole image is there, not when its manifest is."""
    registry.import_seconds = 100
    registry.push("0.31.0", ("", image_manifest("vllm")))
    assert ask("Create", "0.31.0")["Data"]["Images"].endswith(" cached")
    assert listed(ecr) == ["0.31.0"]
    assert 100 <= clock.now <= 100 + 2 * image_pull.POLL_SECONDS


def test_import_that_goes_on_is_no_failure(
    registry: Registry, ask: Asked, clock: Clock
) -> None:
    """What ECR has not finished before Lambda's end is said, and the stack goes on."""
    registry.import_seconds = 10_000
    digest = registry.push("0.31.0", ("", image_manifest("vllm")))
    answer = ask("Create", "0.31.0")
    assert answer["Status"] == "SUCCESS"
    assert answer["Data"]["Images"] == f"0.31.0@{digest} still importing"
    assert 840 < clock.now <= 885


def test_each_image_is_pulled(ecr: Any, registry: Registry, ask: Asked) -> None:
    """Two tags of a repository are both there, in the order of the request."""
    first = registry.push("0.31.0", ("", image_manifest("vllm")))
    second = registry.push("0.33.0", ("", image_manifest("newer")))
    answer = ask("Update", "0.33.0", f"0.31.0@{first}")
    assert answer["Data"]["Images"] == (
        f"0.33.0@{second} cached, 0.31.0@{first} cached"
    )
    assert listed(ecr) == ["0.31.0", "0.33.0"]


def test_every_linux_platform_is_pulled(
    ecr: Any, registry: Registry, ask: Asked
) -> None:
    """Of an index each platform's layers are asked for, and no attestation's."""
    platforms = [image_manifest("amd64"), image_manifest("arm64")]
    attestation = image_manifest("attestation")
    digest = registry.push(
        "0.31.0",
        *(("linux", manifest) for manifest in platforms),
        ("unknown", attestation),
    )
    answer = ask("Create", "0.31.0")
    assert answer["Data"]["Images"] == f"0.31.0@{digest} cached"
    assert listed(ecr) == ["0.31.0"]
    asked = {item.partition("/")[2] for item in registry.asked}
    for manifest in platforms:
        assert {blob["digest"] for blob in manifest["layers"]} < asked
    assert attestation["config"]["digest"] not in asked


def test_digest_that_is_given_is_demanded(registry: Registry, ask: Asked) -> None:
    """A tag whose image is another one fails the deployment, with both digests."""
    digest = registry.push("0.31.0", ("", image_manifest("vllm")))
    answer = ask("Create", f"0.31.0@{DIGEST}")
    assert answer["Status"] == "FAILED"
    assert answer["Reason"] == (
        f"image {REPOSITORY}:0.31.0 must have the digest {DIGEST}, got {digest}; the "
        "tag names another image now: look at it, then set 'digest' to it or take "
        "another tag"
    )
    assert ask("Create", f"0.31.0@{digest}")["Status"] == "SUCCESS"


def test_fails_when_the_upstream_has_no_such_tag(ask: Asked, clock: Clock) -> None:
    """A wrong tag fails in two minutes, in the registry's words, with the repair."""
    answer = ask("Create", "0.310")
    assert answer["Status"] == "FAILED"
    why = error("MANIFEST_UNKNOWN", "Requested image not found")
    assert answer["Reason"] == (
        f"image {REPOSITORY}:0.310 must be there to be pulled through the cache, got "
        f"manifests/0.310: HTTP 404 {why}; correct 'repository' and 'tag', or see "
        "whether the upstream answers, then deploy again"
    )
    assert clock.now == image_pull.PATIENCE_SECONDS
    assert answer["PhysicalResourceId"] == REPOSITORY


@pytest.mark.parametrize("status", [0, 403, 404, 429, 500, 503])
def test_error_that_passes_is_waited_for(
    status: int, registry: Registry, ask: Asked
) -> None:
    """A role that IAM does not know yet, or an upstream that is slow, fails nothing."""
    registry.push("0.31.0", ("", image_manifest("vllm")))
    registry.failures = [(status, "later")] * 3
    assert ask("Create", "0.31.0")["Status"] == "SUCCESS"


def test_error_of_a_layer_is_waited_for(
    registry: Registry, ask: Asked, clock: Clock
) -> None:
    """A layer that fails is asked for again: the image's name has been proved."""
    registry.push("0.31.0", ("", image_manifest("vllm")))
    answered = registry.answer

    def failing(path: str, headers: Any) -> tuple[int, dict[str, str], str]:
        if "/blobs/" in path and clock.now < 200:
            return 404, {}, error("BLOB_UNKNOWN", "later")
        return answered(path, headers)

    registry.answer = failing  # type: ignore[method-assign]
    assert ask("Create", "0.31.0")["Data"]["Images"].endswith(" cached")
    assert clock.now > 200


@pytest.mark.parametrize(("refusals", "status"), [(5, "SUCCESS"), (9, "FAILED")])
def test_refused_token_is_waited_for_and_reported(
    refusals: int,
    status: str,
    registry: Registry,
    ask: Asked,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What ECR's own API refuses for two minutes is the reason of the failure."""
    registry.push("0.31.0", ("", image_manifest("vllm")))
    ecr = image_pull.client_of("ecr")
    allowed, calls = ecr.get_authorization_token, iter(range(100))

    def token() -> Any:
        if next(calls) < refusals:
            raise denied(ecr, "GetAuthorizationToken")
        return allowed()

    monkeypatch.setattr(ecr, "get_authorization_token", token)
    monkeypatch.setattr(image_pull, "client_of", lambda _: ecr)
    answer = ask("Create", "0.31.0")
    assert answer["Status"] == status
    assert ("AccessDeniedException" in answer.get("Reason", "")) is (status == "FAILED")


def denied(ecr: Any, operation: str) -> Exception:
    """Return what ECR raises when an action is not allowed, with a long reason."""
    refusal: Exception = ecr.exceptions.ClientError(
        {"Error": {"Code": "AccessDeniedException", "Message": "by a policy " * 500}},
        operation,
    )
    return refusal


def test_layers_are_taken_whole_and_once(registry: Registry, ask: Asked) -> None:
    """What the registry sends itself is taken to its end, and not again."""
    registry.import_seconds, registry.layer_bytes = 100, 3 * 2**20 + 1
    manifest = image_manifest("vllm")
    registry.push("0.31.0", ("", manifest))
    assert ask("Create", "0.31.0")["Data"]["Images"].endswith(" cached")
    blobs = [f"blobs/{blob['digest']}" for blob in manifest["layers"]]
    asked = [item for item in registry.asked if item in blobs]
    assert asked == blobs
    text = len(registry.upstream["0.31.0"])
    assert registry.sent == text + 4 * registry.layer_bytes


def test_layer_that_does_not_end_is_given_up(
    registry: Registry, ask: Asked, clock: Clock
) -> None:
    """A layer that would last longer than Lambda leaves the rest to ECR."""
    registry.layer_bytes = 8 * 2**20
    registry.push("0.31.0", ("", image_manifest("vllm", layers=1)))
    answered = registry.answer

    def slow(path: str, headers: Any) -> tuple[int, dict[str, str], str]:
        if "/blobs/" in path:
            clock.now += 1_000
        return answered(path, headers)

    registry.answer = slow  # type: ignore[method-assign]
    answer = ask("Create", "0.31.0")
    assert answer["Status"] == "SUCCESS"
    assert answer["Data"]["Images"].endswith(" still importing")
    assert clock.now == 1_000
    assert registry.sent < registry.layer_bytes + 2**20


def test_layers_are_not_fetched_from_s3(registry: Registry, ask: Asked) -> None:
    """That ECR says where a layer is, is enough: its address is not followed."""
    registry.redirects = True
    registry.push("0.31.0", ("", image_manifest("vllm")))
    assert ask("Create", "0.31.0")["Data"]["Images"].endswith(" cached")


@pytest.mark.parametrize("text", ["", "<html>proxy</html>"])
def test_fails_when_a_manifest_is_none(
    text: str, registry: Registry, ask: Asked
) -> None:
    """What is no JSON is no manifest, whoever answers with it."""
    registry.failures = [(200, text)] * 20
    answer = ask("Create", "0.31.0")
    assert answer["Status"] == "FAILED"
    assert "got manifests/0.31.0: Expecting value" in answer["Reason"]


def test_fails_when_the_registry_is_away(
    ask: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry that does not answer is named as the reason."""
    reroute(monkeypatch, "127.0.0.1:1")
    answer = ask("Create", "0.31.0")
    assert answer["Status"] == "FAILED"
    assert "must be there" in answer["Reason"]
    assert "Connection refused" in answer["Reason"]


def test_long_error_fits(registry: Registry, ask: Asked) -> None:
    """CloudFormation takes 4096 bytes, whatever the registry says."""
    registry.failures = [(500, '"' * 100_000)] * 20
    answer = ask("Create", "0.31.0")
    assert answer["Status"] == "FAILED"
    assert answer["Reason"].endswith("then deploy again")
    assert len(json.dumps(answer)) < 4096


def test_short_time_ends_before_lambda_does(ask: Asked, clock: Clock) -> None:
    """A function with less time than its patience answers while it can."""
    answer = ask("Create", "0.310", seconds=60)
    assert answer["Status"] == "FAILED"
    assert clock.now <= 45


@pytest.mark.parametrize(("value", "left"), [("true", False), ("false", True)])
def test_deletion_takes_the_repository_where_it_is_told_to(
    value: str, left: bool, ecr: Any, registry: Registry, ask: Asked
) -> None:
    """Images go with the cache only where that was asked for; others always stay."""
    registry.push("0.31.0", ("", image_manifest("vllm")))
    ask("Create", "0.31.0")
    ecr.create_repository(repositoryName="ecr-public/another")
    answer = ask("Delete", "0.31.0", DeleteRepository=value)
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", REPOSITORY)
    names = {
        item["repositoryName"] for item in ecr.describe_repositories()["repositories"]
    }
    assert names == {"ecr-public/another"} | ({REPOSITORY} if left else set())


def test_deletion_of_what_is_gone_succeeds(ask: Asked) -> None:
    """A repository that somebody has deleted by hand is deleted."""
    assert ask("Delete", DeleteRepository="true")["Status"] == "SUCCESS"


def test_deletion_that_is_refused_fails(
    ask: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository that stays is not called deleted: it goes on costing money."""
    ecr = image_pull.client_of("ecr")

    def refuse(**_: Any) -> None:
        raise denied(ecr, "DeleteRepository")

    monkeypatch.setattr(ecr, "delete_repository", refuse)
    monkeypatch.setattr(image_pull, "client_of", lambda _: ecr)
    answer = ask("Delete", DeleteRepository="true")
    assert answer["Status"] == "FAILED"
    assert "by a policy" in answer["Reason"]
    assert len(json.dumps(answer)) < 4096
