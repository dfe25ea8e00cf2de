"""ECR as a function sees it: its registry on loopback, its API by moto.

The registry holds what an upstream has. The first request for the manifest of a tag
starts the import, which ends some time after the last layer was asked for; only then
does the API list the image.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import HTTPSHandler, Request

from tests.library.cloudformation import Clock, serving

Manifest = dict[str, Any]

_CHUNK = 2**20

INDEX = "application/vnd.oci.image.index.v1+json"
IMAGE = "application/vnd.oci.image.manifest.v1+json"


def digest_of(text: str) -> str:
    """Return the digest of a text."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def image_manifest(name: str, *, layers: int = 3) -> Manifest:
    """Return the manifest of an image of one platform."""
    return {
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": {"digest": digest_of(f"{name} config"), "size": 1},
        "layers": [
            {"digest": digest_of(f"{name} layer {number}"), "size": 1}
            for number in range(layers)
        ],
    }


class Registry:
    """The registry of an account with a pull-through cache.

    Args:
        api: ECR's client, which lists what the registry has imported.
        clock: Time that the import takes.
        import_seconds: Time from the first request to the end of the import.

    ``upstream`` has its texts by tag and digest, ``failures`` what it answers next
    instead, a status of 0 being no HTTP. With ``redirects`` it sends every layer from
    S3, as it does those that it has, and else ``layer_bytes`` of it. ``asked`` and
    ``sent`` count what happened.
    """

    def __init__(self, api: Any, clock: Clock, *, import_seconds: float = 0) -> None:
        self.upstream: dict[str, str] = {}
        self.import_seconds = import_seconds
        self.failures: list[tuple[int, str]] = []
        self.redirects = False
        self.layer_bytes = 1
        self.sent = 0
        self.asked: list[str] = []
        self.address = ""
        self._api, self._clock = api, clock
        clock.watchers.append(self._finish)
        self._imports: dict[str, tuple[str, float]] = {}
        self._imported: set[str] = set()
        self._blobs: set[str] = set()

    def push(self, tag: str, *platforms: tuple[str, Manifest]) -> str:
        """Give the upstream an image, and return its digest.

        Args:
            tag: Its tag.
            platforms: System and manifest of each platform; a single one without a
                system is the image itself.
        """
        for _, manifest in platforms:
            text = json.dumps(manifest)
            self.upstream[digest_of(text)] = text
        if not platforms[0][0]:
            self.upstream[tag] = json.dumps(platforms[0][1])
        else:
            entries = [
                {
                    "mediaType": IMAGE,
                    "digest": digest_of(json.dumps(manifest)),
                    "size": 1,
                    "platform": {"os": system, "architecture": "amd64"},
                }
                for system, manifest in platforms
            ]
            self.upstream[tag] = json.dumps(
                {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
            )
        return digest_of(self.upstream[tag])

    def answer(self, path: str, headers: Any) -> tuple[int, dict[str, str], str]:
        """Return status, headers and body of an answer."""
        if self.failures:
            status, text = self.failures.pop(0)
            return status, {}, text
        if headers["Authorization"] != f"Basic {self._token()}":
            return 401, {}, "Not Authorized"
        _, version, *names, kind, reference = path.split("/")
        assert version == "v2"
        repository = "/".join(names)
        self.asked.append(f"{kind}/{reference}")
        if kind == "blobs":
            return self._blob(reference)
        return self._manifest(repository, reference, headers["Accept"])

    def _manifest(
        self, repository: str, reference: str, accept: str
    ) -> tuple[int, dict[str, str], str]:
        text = self.upstream.get(reference)
        if text is None:
            return 404, {}, error("MANIFEST_UNKNOWN", "Requested image not found")
        media_type = json.loads(text)["mediaType"]
        if media_type not in accept.split(", "):
            return 406, {}, error("UNSUPPORTED", media_type)
        if not reference.startswith("sha256:"):
            if reference not in self._imported:
                self._imports.setdefault(reference, (repository, self._clock.now))
            self._finish()
        return 200, {"Content-Type": media_type}, text

    def _blob(self, digest: str) -> tuple[int, dict[str, str], str]:
        self._blobs.add(digest)
        if self._finish() or self.redirects:
            # nobody may follow it: the host does not exist
            return 307, {"Location": f"https://layers.invalid/{digest}"}, ""
        return 200, {}, "x" * self.layer_bytes

    def _finish(self) -> bool:
        """Let the API list each image that is complete, and say whether all are."""
        for tag, (repository, began) in list(self._imports.items()):
            if (
                self._clock.now >= began + self.import_seconds
                and self._layers(tag) <= self._blobs
            ):
                self._list(repository, tag)
                del self._imports[tag]
                self._imported.add(tag)
        return not self._imports

    def _layers(self, tag: str) -> set[str]:
        manifest = json.loads(self.upstream[tag])
        parts = [manifest]
        if "manifests" in manifest:
            parts = [
                json.loads(self.upstream[entry["digest"]])
                for entry in manifest["manifests"]
                if entry["platform"]["os"] == "linux"
            ]
        return {
            blob["digest"]
            for part in parts
            for blob in [part["config"], *part["layers"]]
        }

    def _list(self, repository: str, tag: str) -> None:
        api = self._api
        with suppress(api.exceptions.RepositoryAlreadyExistsException):
            api.create_repository(repositoryName=repository)
        api.put_image(
            repositoryName=repository,
            imageManifest=self.upstream[tag],
            imageTag=tag,
            # the emulator would make one up
            imageDigest=digest_of(self.upstream[tag]),
        )

    def _token(self) -> str:
        [data] = self._api.get_authorization_token()["authorizationData"]
        token: str = data["authorizationToken"]
        return token


def error(code: str, message: str) -> str:
    """Return the body of a registry's error."""
    return json.dumps({"errors": [{"code": code, "message": message}]})


@contextmanager
def listening(registry: Registry) -> Iterator[None]:
    """Let a registry answer on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = registry.answer(self.path, self.headers)
            if not status:
                self.wfile.write(b"no HTTP\r\n")
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            # a layer's bytes are not read
            with suppress(ConnectionError):
                for start in range(0, len(body), _CHUNK):
                    part = body[start : start + _CHUNK].encode()
                    registry.sent += self.wfile.write(part)

        def log_message(self, format: str, *args: Any) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, serving(server):
        registry.address = f"127.0.0.1:{server.server_port}"
        yield


def rerouted(address: str, host: str) -> HTTPSHandler:
    """Return what sends the requests for a host to a loopback address instead.

    Args:
        address: Where they go.
        host: The only one that may be asked.
    """

    class Loopback(HTTPSHandler):
        def https_open(self, req: Request) -> HTTPResponse:
            assert req.host == host
            connect: Callable[..., Any] = lambda _, **options: HTTPConnection(  # noqa: E731
                address, **options
            )
            return self.do_open(connect, req)

    return Loopback()
