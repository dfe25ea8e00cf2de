"""A loopback S3, a loopback Hub, and the import between them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from botocore.config import Config  # type: ignore[import-untyped]
from moto.server import ThreadedMotoServer

from eks_inference.importing import bucket, files, hub, job
from eks_inference.importing.bucket import Target
from eks_inference.importing.hub import HubSource
from tests.importing.stand_in import Hub, serving

PART = 5 * 2**20
"""The smallest part that S3 takes."""

PREFIX = "models/chat/"


def content(size: int, seed: int = 1) -> bytes:
    """Return bytes that look like weights: no part is like another.

    Args:
        size: Bytes.
        seed: What they depend on. Default: 1.
    """
    block = bytes((seed * 31 + index * 17) % 251 for index in range(4_093))
    return (block * (size // len(block) + 1))[:size]


@dataclass
class Import:
    """A Hub, a bucket, and what a run has said.

    Args:
        hub: The stand-in.
        client: S3 client.
        bucket: Bucket of the target.
        lines: What the runs have said.
        waits: Seconds that the runs have waited for, without waiting.
    """

    hub: Hub
    client: Any
    bucket: str
    lines: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    @property
    def target(self) -> Target:
        """Where the model goes."""
        return Target(self.client, self.bucket, PREFIX)

    def source(self, *, token: str = "", revision: str | None = None) -> HubSource:
        """Return the source."""
        return HubSource(
            self.hub.repo,
            revision or self.hub.revision,
            endpoint=self.hub.url,
            token=token,
            sleep=self.waits.append,
        )

    def run(self, **changes: Any) -> None:
        """Run the import once."""
        job.run(self.source(**changes), self.target, self.lines.append)

    def objects(self, prefix: str = PREFIX) -> dict[str, bytes]:
        """Return what is below a prefix."""
        found = self.client.list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        return {
            item["Key"].removeprefix(prefix): self.client.get_object(
                Bucket=self.bucket, Key=item["Key"]
            )["Body"].read()
            for item in found.get("Contents", [])
        }

    def uploads(self) -> list[Any]:
        """Return the multipart uploads that are neither completed nor aborted."""
        found = self.client.list_multipart_uploads(Bucket=self.bucket)
        uploads: list[Any] = found.get("Uploads", [])
        return uploads


@pytest.fixture(scope="session")
def s3() -> Iterator[Any]:
    """A client of a loopback S3."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield new_client(f"http://{host}:{port}")
    server.stop()


def new_client(url: str) -> Any:
    """Return a client of the loopback S3.

    Args:
        url: Its address.
    """
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="eu-central-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"mode": "standard", "max_attempts": 2}),
    )


@pytest.fixture
def client(s3: Any) -> Any:
    """A client of the loopback S3 that a test may break."""
    return new_client(s3.meta.endpoint_url)


@pytest.fixture
def new_bucket(client: Any, request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Return what makes an empty, versioned bucket for one test."""

    def make(name: str) -> str:
        bucket = f"{name}-{abs(hash(request.node.nodeid))}"
        client.create_bucket(
            Bucket=bucket,
            CreateBucketConfiguration={"LocationConstraint": "eu-central-1"},
        )
        client.put_bucket_versioning(
            Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
        )
        return bucket

    return make


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make parts small, so that files of a few megabytes have several."""
    for module in (files, hub, job):
        monkeypatch.setattr(module, "PART_BYTES", PART)
    monkeypatch.setattr(bucket, "COPY_BYTES", PART)


@pytest.fixture
def weights(
    client: Any, new_bucket: Callable[[str], str], small_parts: None
) -> Iterator[Import]:
    """An import of a model with two shards, of which the first has three parts."""
    del small_parts
    index = b'{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'
    held = {
        "README.md": b"# A model\n",
        "config.json": b'{"architectures": ["MistralForCausalLM"]}',
        "model-1.safetensors": content(2 * PART + 12_345),
        "model-2.safetensors": content(54_321, seed=2),
        "model.safetensors.index.json": index,
        "tokenizer.json": content(9_999, seed=3),
        "pytorch_model.bin": b"a pickle",
        "consolidated.safetensors": b"the weights once more",
    }
    lfs = {"model-1.safetensors", "model-2.safetensors", "tokenizer.json"}
    with serving(Hub(files=held, lfs=lfs)) as hub_:
        yield Import(hub_, client, new_bucket("models"))
