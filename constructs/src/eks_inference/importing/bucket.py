"""The bucket that a model is brought to, and another one as a source."""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from .files import (
    COPY_BYTES,
    IN_FLIGHT,
    BucketDeniedError,
    File,
    ImportFailedError,
    InterruptedImportError,
    NotFoundError,
    Part,
    SourceDeniedError,
    in_order,
    parts,
)

MARKER = ".imported"
"""Object that is written last. vLLM looks for no file of this name."""

_CHECKSUM = "checksum"
_TAG = "etag:"
_NOT_FOUND = ("404", "NoSuchKey", "NoSuchBucket", "NotFound")
_DENIED = ("403", "AccessDenied", "AllAccessDisabled", "InvalidAccessKeyId")


@contextmanager
def s3_errors(
    bucket: str, denied: type[ImportFailedError] = BucketDeniedError
) -> Iterator[None]:
    """Give errors of S3 their meaning; boto3 has tried again where that could help.

    Args:
        bucket: Name of the bucket, for the message.
        denied: What a refusal is.
    """
    # what the pod has, and the library does without
    from botocore.exceptions import (  # type: ignore[import-untyped] # noqa: PLC0415
        BotoCoreError,
        ClientError,
        NoCredentialsError,
    )

    try:
        yield
    except ClientError as error:
        code = str(error.response["Error"]["Code"])
        says = f"bucket {bucket!r}, {error.operation_name}: {code}"
        if code in _NOT_FOUND:
            raise NotFoundError(says) from None
        if code in _DENIED or code.startswith("KMS"):
            raise denied(f"{says}; see the policies of role, bucket and key") from None
        raise InterruptedImportError(says) from None
    except NoCredentialsError:
        raise denied(
            f"bucket {bucket!r}: the pod has no credentials; see its Pod Identity "
            "association and the agent on its node"
        ) from None
    except BotoCoreError as error:
        raise InterruptedImportError(f"bucket {bucket!r}: {error}") from None


@dataclass
class Upload:
    """A multipart upload that is not completed yet.

    Args:
        client: S3 client.
        name: Bucket, key and id, as S3's calls name them.
        parts: What has arrived, in order.
    """

    client: Any
    name: dict[str, str]
    parts: list[Part] = field(default_factory=list)

    def part(self, number: int, data: bytearray) -> Part:
        """Send a part."""
        with s3_errors(self.name["Bucket"]):
            answer = self.client.upload_part(
                **self.name, PartNumber=number, Body=data, ChecksumAlgorithm="CRC32"
            )
        return _part(number, answer)

    def copied_part(
        self, number: int, source: Mapping[str, Any], start: int, length: int
    ) -> Part:
        """Let S3 copy a part."""
        with s3_errors(self.name["Bucket"]):
            answer = self.client.upload_part_copy(
                **self.name,
                **source,
                PartNumber=number,
                CopySourceRange=f"bytes={start}-{start + length - 1}",
            )
        return _part(number, answer["CopyPartResult"])


class Target:
    """The prefix of a bucket that a model is brought to.

    Args:
        client: S3 client.
        bucket: Name of the bucket.
        prefix: Key prefix with a trailing slash.
    """

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client, self._bucket, self._prefix = client, bucket, prefix

    @property
    def uri(self) -> str:
        """Where the model is."""
        return f"s3://{self._bucket}/{self._prefix}"

    def has(self, file: File) -> bool:
        """Say whether a file is there with its size and checksum."""
        try:
            with s3_errors(self._bucket):
                found = self._client.head_object(**self._name(file.path))
        except NotFoundError:
            return False
        known = found["Metadata"].get(_CHECKSUM)
        return (found["ContentLength"], known) == (file.size, file.checksum)

    def put(self, file: File, data: bytearray) -> None:
        """Write a file that has been checked."""
        with s3_errors(self._bucket):
            self._client.put_object(
                **self._name(file.path),
                Body=data,
                ChecksumAlgorithm="CRC32",
                Metadata={_CHECKSUM: file.checksum},
            )

    def copy(self, file: File, source: Mapping[str, Any]) -> None:
        """Let S3 copy a file; its tags stay behind, which would need permissions."""
        with s3_errors(self._bucket):
            self._client.copy_object(
                **self._name(file.path),
                **source,
                MetadataDirective="REPLACE",
                TaggingDirective="REPLACE",
                Metadata={_CHECKSUM: file.checksum},
            )

    @contextmanager
    def upload(self, file: File) -> Iterator[Upload]:
        """Complete an upload when the block ends, and abort it when it fails."""
        name = self._name(file.path)
        with s3_errors(self._bucket):
            made = self._client.create_multipart_upload(
                **name,
                ChecksumAlgorithm="CRC32",
                Metadata={_CHECKSUM: file.checksum},
            )
        upload = Upload(self._client, {**name, "UploadId": made["UploadId"]})
        try:
            yield upload
            with s3_errors(self._bucket):
                self._client.complete_multipart_upload(
                    **upload.name, MultipartUpload={"Parts": upload.parts}
                )
        except BaseException:
            with s3_errors(self._bucket):
                self._client.abort_multipart_upload(**upload.name)
            raise

    def marker(self) -> dict[str, Any]:
        """Return what the marker says; empty where there is none."""
        try:
            with s3_errors(self._bucket):
                found = self._client.get_object(**self._name(MARKER))
                content: dict[str, Any] = json.loads(found["Body"].read())
        except NotFoundError:
            return {}
        return content

    def mark(self, identity: Mapping[str, str], files: Sequence[File]) -> None:
        """Write the marker: from now on the model is there."""
        content = {"source": identity, "files": [asdict(file) for file in files]}
        with s3_errors(self._bucket):
            self._client.put_object(
                **self._name(MARKER),
                Body=json.dumps(content, indent=1).encode(),
                ContentType="application/json",
            )

    def _name(self, path: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + path}


class BucketSource:
    """Files below a prefix of a bucket, which S3 copies itself.

    Args:
        client: S3 client.
        bucket: Name of the bucket.
        prefix: Key prefix with a trailing slash.
        revision: What this state of the files is called.
    """

    def __init__(self, client: Any, bucket: str, prefix: str, revision: str) -> None:
        self.identity = {"bucket": bucket, "prefix": prefix, "revision": revision}
        self._client, self._bucket, self._prefix = client, bucket, prefix

    def files(self) -> list[File]:
        """Return the files below the prefix, with S3's own tag of their content."""
        pages = self._client.get_paginator("list_objects_v2")
        with s3_errors(self._bucket, SourceDeniedError):
            found = [
                File(
                    path=item["Key"].removeprefix(self._prefix),
                    size=item["Size"],
                    checksum=_TAG + item["ETag"],
                )
                for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix)
                for item in page.get("Contents", [])
            ]
        if not found:
            raise NotFoundError(
                f"s3://{self._bucket}/{self._prefix} must hold a model, got nothing"
            )
        return found

    def read(self, file: File) -> bytearray:
        """Return the content of a file that memory can hold.

        Args:
            file: A file of the listing.
        """
        with s3_errors(self._bucket, SourceDeniedError):
            found = self._client.get_object(
                Bucket=self._bucket,
                Key=self._prefix + file.path,
                IfMatch=file.checksum.removeprefix(_TAG),
            )
            return bytearray(found["Body"].read())

    def send(self, file: File, target: Target) -> None:
        """Bring a file into the bucket, as it was when it was listed.

        Args:
            file: A file of the listing.
            target: Where it goes.
        """
        source = {
            "CopySource": {"Bucket": self._bucket, "Key": self._prefix + file.path},
            "CopySourceIfMatch": file.checksum.removeprefix(_TAG),
        }
        if file.size <= COPY_BYTES:
            target.copy(file, source)
            return
        with target.upload(file) as upload, ThreadPoolExecutor(IN_FLIGHT) as pool:
            tasks = [
                partial(upload.copied_part, number, source, start, length)
                for number, (start, length) in enumerate(
                    parts(file.size, COPY_BYTES), start=1
                )
            ]
            upload.parts += in_order(pool, tasks)


def _part(number: int, answer: Mapping[str, Any]) -> Part:
    # S3 wants every part's checksum again when the upload is completed
    part = {"PartNumber": number, "ETag": answer["ETag"]}
    if "ChecksumCRC32" in answer:
        part["ChecksumCRC32"] = answer["ChecksumCRC32"]
    return part
