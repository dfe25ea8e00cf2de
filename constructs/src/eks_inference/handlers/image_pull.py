"""Lambda function: the first pull of an image through a cache, before a node needs it.

ECR fetches an image when somebody pulls it. This does what a container runtime does,
keeps nothing, and waits until ECR lists the image. See ``eks_inference.image_cache``.
"""

import hashlib
import json
import logging
import time  # noqa: TID251 - runs in a deployment, never in a synthesis
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException  # noqa: TID251 - as above
from typing import Any
from urllib.error import HTTPError  # noqa: TID251 - as above
from urllib.request import (  # noqa: TID251 - as above
    HTTPRedirectHandler,
    Request,
    build_opener,
)

from eks_inference.handlers.answer import (
    MOST_CHARACTERS,
    Event,
    answer,
    client_of,
    seconds_left,
)

MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
"""Media types of what lists platforms, and of what lists layers (OCI image
specification; Docker registry, image manifest version 2, schema 2)."""

PATIENCE_SECONDS = 120
"""How long an error may be one that passes: a role that IAM does not know everywhere
yet, an upstream that is slow. Assumed."""

POLL_SECONDS = 15
"""Assumed: some 60 rounds in the longest wait."""

REQUEST_SECONDS = 60
"""For one answer of the registry, which asks the upstream before it gives the first.
Assumed."""

MOST_BYTES = 4 * 1024**2
"""Of a manifest: registries take no larger ones (OCI distribution specification)."""

CHUNK_BYTES = 1024**2
"""Of a layer, read at once."""

CACHED = "cached"
IMPORTING = "still importing"

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)


class ImageError(Exception):
    """An image cannot be what its name says."""


class PullError(Exception):
    """The registry did not answer as it does to a pull."""


class NoRedirect(HTTPRedirectHandler):
    """A layer's address is enough: ECR redirects to S3 for its bytes."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follow nothing."""


@dataclass(frozen=True)
class Repository:
    """A repository of the account's registry.

    Args:
        name: Its name, prefix included.
        address: Address of the registry.
        token: Basic credentials of the registry.
    """

    name: str
    address: str
    token: str

    def manifest(self, reference: str) -> bytes:
        """Return a manifest as it is written.

        Args:
            reference: Its tag or its digest.

        Raises:
            PullError: The registry has it not, or does not answer.
        """
        with self._opened(f"manifests/{reference}", ", ".join(MANIFESTS)) as opened:
            body: bytes = opened.read(MOST_BYTES)
        return body

    def take(self, digest: str, *, end: float) -> None:
        """Take a layer, and keep nothing of it.

        All of it, where the registry sends it itself: what keeps a copy of what it
        hands on may not have one when nobody takes it. Where it sends to S3, it has
        the layer, and that is enough.

        Args:
            digest: Digest of the layer.
            end: When to give up.

        Raises:
            PullError: The registry has it not, does not answer, or not in time.
        """
        with self._opened(f"blobs/{digest}", "*/*") as opened:
            while opened.read(CHUNK_BYTES):
                if time.monotonic() > end:
                    raise PullError(f"blobs/{digest}: no time left for the rest of it")

    @contextmanager
    def _opened(self, path: str, accept: str) -> Iterator[Any]:
        url = f"{self.address}/v2/{self.name}/{path}"
        headers = {"Authorization": f"Basic {self.token}", "Accept": accept}
        request = Request(url, headers=headers)  # noqa: S310 - ECR's own address
        try:
            with self._answer(path, request) as opened:
                yield opened
        except (OSError, HTTPException) as error:
            raise PullError(f"{path}: {error}") from error

    def _answer(self, path: str, request: Request) -> Any:
        try:
            return OPENER.open(request, timeout=REQUEST_SECONDS)
        except HTTPError as error:
            if error.code in REDIRECTS:
                return error
            with error:
                text = error.read(MOST_CHARACTERS).decode(errors="replace")
            why = f"{path}: HTTP {error.code} {' '.join(text.split())}"
            raise PullError(why) from error


OPENER = build_opener(NoRedirect)
REDIRECTS = (301, 302, 303, 307, 308)


def handler(event: Event, context: Any) -> None:
    """Pull the images of a repository, or delete it, and answer CloudFormation.

    Args:
        event: Request of CloudFormation.
        context: Lambda's, of which the remaining time is asked.
    """
    properties = event["ResourceProperties"]
    name = properties["Repository"]
    # under another name it is another repository, which is deleted by itself
    result: dict[str, Any] = {"Status": "SUCCESS", "PhysicalResourceId": name}
    try:
        ecr = client_of("ecr")
        if event["RequestType"] != "Delete":
            end = time.monotonic() + seconds_left(context)
            states = [warm(ecr, name, image, end) for image in properties["Images"]]
            result["Data"] = {"Images": ", ".join(states)}
        elif properties["DeleteRepository"] == "true":
            delete(ecr, name)
    except Exception as error:
        logger.exception("repository %r", name)
        result |= {"Status": "FAILED", "Reason": reason(error)}
    answer(event, result)


def warm(ecr: Any, name: str, image: str, end: float) -> str:
    """Return an image's tag, its digest, and whether ECR has all of it.

    An image that ECR does not list in time is no error: from here on it is a matter of
    time, and nodes can pull what ECR is still fetching.

    Args:
        ecr: Client of ECR.
        name: Name of the repository, prefix included.
        image: Tag, with its digest after ``@`` where that is known.
        end: When to stop waiting.

    Raises:
        ImageError: The image is not there, or is not the one that its digest names.
    """
    tag, _, expected = image.partition("@")
    repository, digest, manifest = find(ecr, name, tag, end)
    if expected and digest != expected:
        raise ImageError(other(name, tag, expected, digest))
    taken: set[str] = set()
    while listed(ecr, name, tag) != digest:
        try:
            pull(repository, manifest, taken, end)
        except PullError as error:
            logger.info("%s:%s: %s", name, tag, error)
        if time.monotonic() + POLL_SECONDS > end:
            return f"{tag}@{digest} {IMPORTING}"
        time.sleep(POLL_SECONDS)
    return f"{tag}@{digest} {CACHED}"


def find(
    ecr: Any, name: str, tag: str, end: float
) -> tuple[Repository, str, Mapping[str, Any]]:
    """Return the repository, and the digest and the manifest of a tag.

    The first request for the manifest of a tag is what makes ECR import the image.

    Raises:
        ImageError: The registry has had no such tag for longer than errors pass.
    """
    patient = min(time.monotonic() + PATIENCE_SECONDS, end)
    while True:
        try:
            repository = login(ecr, name)
            return repository, *manifest_of(repository, tag)
        except (PullError, ecr.exceptions.ClientError) as error:
            logger.info("%s:%s: %s", name, tag, error)
            if time.monotonic() + POLL_SECONDS > patient:
                raise ImageError(absent(name, tag, error)) from error
        time.sleep(POLL_SECONDS)


def pull(
    repository: Repository, manifest: Mapping[str, Any], taken: set[str], end: float
) -> None:
    """Take every layer of an image that has not been taken, of each platform."""
    for part in platforms(repository, manifest):
        for blob in (part["config"], *part["layers"]):
            if blob["digest"] not in taken:
                repository.take(blob["digest"], end=end)
                taken.add(blob["digest"])


def platforms(
    repository: Repository, manifest: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """Yield the manifests with layers that a manifest is or lists."""
    if "manifests" not in manifest:
        yield manifest
        return
    for entry in manifest["manifests"]:
        # attestations are listed as platforms, too: of an unknown system
        if entry.get("platform", {}).get("os") == "linux":
            yield manifest_of(repository, entry["digest"])[1]


def manifest_of(
    repository: Repository, reference: str
) -> tuple[str, Mapping[str, Any]]:
    """Return the digest of a manifest, and the manifest."""
    body = repository.manifest(reference)
    try:
        manifest: Mapping[str, Any] = json.loads(body)
    except ValueError as error:
        raise PullError(f"manifests/{reference}: {error}") from error
    return f"sha256:{hashlib.sha256(body).hexdigest()}", manifest


def login(ecr: Any, name: str) -> Repository:
    """Return a repository with what opens it."""
    [data] = ecr.get_authorization_token()["authorizationData"]
    return Repository(name, data["proxyEndpoint"], data["authorizationToken"])


def listed(ecr: Any, name: str, tag: str) -> str | None:
    """Return the digest that ECR lists for a tag, or None if it lists none.

    ECR lists an image when it has every layer of it.
    """
    try:
        answered = ecr.describe_images(
            repositoryName=name, imageIds=[{"imageTag": tag}]
        )
    except (
        ecr.exceptions.ImageNotFoundException,
        ecr.exceptions.RepositoryNotFoundException,
    ):
        return None
    [image] = answered["imageDetails"]
    digest: str = image["imageDigest"]
    return digest


def delete(ecr: Any, name: str) -> None:
    """Delete a repository with its images, if it is there."""
    try:
        ecr.delete_repository(repositoryName=name, force=True)
    except ecr.exceptions.RepositoryNotFoundException:
        logger.info("repository %r is not there", name)


def reason(error: Exception) -> str:
    """Return why it failed, short enough for CloudFormation."""
    if isinstance(error, ImageError):
        return str(error)
    return str(error)[:MOST_CHARACTERS]


def absent(name: str, tag: str, error: Exception) -> str:
    """Return what is wrong with an image that cannot be pulled."""
    return (
        f"image {name}:{tag} must be there to be pulled through the cache, got "
        f"{str(error)[:MOST_CHARACTERS]}; correct 'repository' and 'tag', or see "
        "whether the upstream answers, then deploy again"
    )


def other(name: str, tag: str, expected: str, digest: str) -> str:
    """Return what is wrong with an image that has another digest."""
    return (
        f"image {name}:{tag} must have the digest {expected}, got {digest}; the tag "
        "names another image now: look at it, then set 'digest' to it or take another "
        "tag"
    )
