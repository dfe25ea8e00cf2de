"""A file of a model, its parts, and why it may not arrive."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

PART_BYTES = 64 * 2**20
"""Bytes of a part that goes through memory: files of up to 625 GiB, above the 500 GB
that the Hub takes at most (its page "Storage limits")."""

COPY_BYTES = 512 * 2**20
"""Bytes of a part that S3 copies itself; S3 takes 5 MiB to 5 GiB (see MOST_PARTS)."""

MOST_PARTS = 10_000
"""Parts of one upload (S3 user guide, "Amazon S3 multipart upload limits")."""

IN_FLIGHT = 4
"""Parts that are under way at once; with the one that is hashed, 5 times 64 MiB."""

Part = dict[str, Any]
"""A part of an upload, as S3's ``CompletedPart``."""

Result = TypeVar("Result")


class ImportFailedError(Exception):
    """Why an import ended without a marker; the code is that of the process."""

    code = 1


class InterruptedImportError(ImportFailedError):
    """Source or bucket kept failing, or the pod was stopped: another attempt may do.

    Args:
        message: What happened.
        seconds: How long the source asks to be left alone. Default: it does not say.
    """

    code = 10

    def __init__(self, message: str, seconds: int = 0) -> None:
        super().__init__(message)
        self.seconds = seconds


class WrongContentError(ImportFailedError):
    """What arrived is not what the source has published: another attempt may do."""

    code = 11


class IncompleteModelError(ImportFailedError):
    """The source lacks a file that the model needs."""

    code = 12


class SourceDeniedError(ImportFailedError):
    """The source wants a token, or another one, or consent to a licence."""

    code = 13


class NotFoundError(ImportFailedError):
    """There is no such repository, revision, prefix or object."""

    code = 14


class BucketDeniedError(ImportFailedError):
    """The pod's role may not do to the bucket what an import does."""

    code = 15


class UnsafeModelError(ImportFailedError):
    """The weights are pickles, which run code when they are read."""

    code = 16


class TooLargeError(ImportFailedError):
    """A file has more parts than one upload can have."""

    code = 17


@dataclass(frozen=True)
class File:
    """A file of a model.

    Args:
        path: Path in the source, and below the prefix in the bucket.
        size: Bytes.
        checksum: What the content is known by, as ``algorithm:value``: ``sha256`` and
            ``git-sha1`` (that of a git blob) are computed, ``etag`` is S3's own.
    """

    path: str
    size: int
    checksum: str


def parts(size: int, part: int) -> list[tuple[int, int]]:
    """Return start and length of each part of a file, none of them empty.

    Args:
        size: Bytes of the file.
        part: Bytes of every part but the last.

    Raises:
        TooLargeError: There would be more parts than S3 takes.
    """
    most = part * MOST_PARTS
    if size > most:
        raise TooLargeError(
            f"a file must have at most {most} bytes, got {size}; take a repository "
            "with smaller shards"
        )
    return [(start, min(part, size - start)) for start in range(0, size, part)]


def hasher(file: File) -> "hashlib._Hash":
    """Return what computes the published checksum of a file."""
    if file.checksum.startswith("sha256:"):
        return hashlib.sha256()
    # git hashes the kind and the length in front of the content
    return hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)


def check(file: File, digest: "hashlib._Hash") -> None:
    """Compare what arrived with what was published.

    Args:
        file: File that arrived.
        digest: Hash of its content.

    Raises:
        WrongContentError: They differ.
    """
    expected, got = file.checksum.partition(":")[2], digest.hexdigest()
    if got != expected:
        raise WrongContentError(
            f"{file.path} must have checksum {file.checksum}, got {got}; nothing of it "
            "was kept"
        )


def in_order(
    pool: ThreadPoolExecutor, tasks: Iterable[Callable[[], Result]]
) -> Iterator[Result]:
    """Yield the results of tasks in their order, a few of which run at once.

    Args:
        pool: Threads.
        tasks: What to run.
    """
    waiting: deque[Future[Result]] = deque()
    for task in tasks:
        waiting.append(pool.submit(task))
        if len(waiting) == IN_FLIGHT:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
