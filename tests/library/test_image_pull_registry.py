"""The function that pulls images, against a real registry that caches another."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from tests.library.cloudformation import load
from tests.library.registry import IMAGE, INDEX

image_pull = load("image_pull")

NAME = "public/vllm"
START_SECONDS = 30


def digest_of(data: bytes) -> str:
    """Return the digest of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@contextmanager
def serving(folder: Path, upstream: str = "") -> Iterator[str]:
    """Run a registry, which caches another one where that is named.

    Args:
        folder: A folder for what it stores.
        upstream: Address of the other one.
    """
    program = shutil.which(os.environ.get("REGISTRY") or "docker-registry")
    # a missing program is an error and never a skip: without it nothing is proved
    assert program, "'docker-registry' is not on the path; 'make servers' puts it there"
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{found.getsockname()[1]}"
    folder.mkdir()
    configuration = folder / "registry.json"
    values: dict[str, Any] = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder)}},
        "http": {"addr": host},
    }
    if upstream:
        values["proxy"] = {"remoteurl": upstream}
    # YAML reads JSON
    configuration.write_text(json.dumps(values))
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [program, "serve", configuration], stdout=output, stderr=output
        )
    try:
        await_start(f"http://{host}/v2/", log)
        yield f"http://{host}"
    finally:
        process.terminate()
        process.wait()


def await_start(address: str, log: Path) -> None:
    """Return when a registry answers."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            with urlopen(address, timeout=1):
                return
        except (URLError, OSError):
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)


def push(address: str, reference: str, document: dict[str, Any]) -> str:
    """Put a manifest into a registry, and return its digest."""
    data = json.dumps(document).encode()
    send(
        f"{address}/v2/{NAME}/manifests/{reference or digest_of(data)}",
        "PUT",
        data,
        document["mediaType"],
    )
    return digest_of(data)


def push_image(address: str, text: str, reference: str = "") -> str:
    """Put an image of one platform into a registry, and return its digest."""
    blobs = []
    for number in range(4):
        # larger than what is read at once
        data = f"{text} {number} ".encode() * 200_000
        place = send(f"{address}/v2/{NAME}/blobs/uploads/", "POST")
        mark = "&" if "?" in place else "?"
        send(f"{place}{mark}digest={digest_of(data)}", "PUT", data)
        blobs.append({"digest": digest_of(data), "size": len(data)})
    config, *layers = blobs
    kind = "application/vnd.oci.image"
    document = {
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": {"mediaType": f"{kind}.config.v1+json", **config},
        "layers": [{"mediaType": f"{kind}.layer.v1.tar", **blob} for blob in layers],
    }
    return push(address, reference, document)


def send(address: str, method: str, data: bytes = b"", kind: str = "") -> str:
    """Send something to a registry, and return the place that it names."""
    headers = {"Content-Type": kind or "application/octet-stream"}
    with urlopen(Request(address, data, headers, method=method), timeout=30) as opened:
        return str(opened.headers["Location"])


@pytest.mark.parametrize("kind", ["image", "index"])
def test_cache_has_the_whole_image_after_the_pull(kind: str, tmp_path: Path) -> None:
    """Of what was pulled the cache has each part, to the last byte."""
    with serving(tmp_path / "upstream") as upstream:
        if kind == "image":
            digest = push_image(upstream, "amd64", "0.31.0")
        else:
            entries = [
                {
                    "mediaType": IMAGE,
                    "digest": push_image(upstream, name),
                    "size": 1,
                    "platform": {"os": "linux", "architecture": name},
                }
                for name in ("amd64", "arm64")
            ]
            index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
            digest = push(upstream, "0.31.0", index)
        with serving(tmp_path / "cache", upstream) as cache:
            repository = image_pull.Repository(NAME, cache, "QVdTOng=")
            found, manifest = image_pull.manifest_of(repository, "0.31.0")
            assert found == digest
            end = image_pull.time.monotonic() + 60
            image_pull.pull(repository, manifest, set(), end)
            parts = list(image_pull.platforms(repository, manifest))
            assert len(parts) == (1 if kind == "image" else 2)
            blobs = [
                blob["digest"]
                for part in parts
                for blob in (part["config"], *part["layers"])
            ]
            assert len(blobs) == 4 * len(parts)
            for blob in (digest, *blobs):
                assert kept(tmp_path / "cache", blob)


def kept(folder: Path, digest: str) -> bool:
    """Say whether a registry has stored something whole, which it does in its time."""
    algorithm, _, number = digest.partition(":")
    blobs = folder / "docker/registry/v2/blobs" / algorithm / number[:2]
    file = blobs / number / "data"
    end = time.monotonic() + START_SECONDS
    while not (file.exists() and digest_of(file.read_bytes()) == digest):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_unknown_tag_is_named_in_the_words_of_the_registry(tmp_path: Path) -> None:
    """A real registry answers as the stand-in does: 404, and a JSON with its reason."""
    with serving(tmp_path / "upstream") as upstream:
        repository = image_pull.Repository(NAME, upstream, "QVdTOng=")
        with pytest.raises(
            image_pull.PullError, match=r"HTTP 404 .*(MANIFEST|NAME)_UN"
        ):
            image_pull.manifest_of(repository, "0.310")
