"""Tests of the arithmetic of parts, and of results that keep their order."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference.importing.files import (
    COPY_BYTES,
    IN_FLIGHT,
    MOST_PARTS,
    PART_BYTES,
    File,
    TooLargeError,
    WrongContentError,
    check,
    hasher,
    in_order,
    parts,
)

S3_PART = range(5 * 2**20, 5 * 2**30 + 1)
"""Sizes of a part that S3 takes, but for the last (S3 user guide)."""


@given(size=st.integers(0, 10**13), part=st.sampled_from([PART_BYTES, COPY_BYTES]))
def test_parts_make_up_the_file(size: int, part: int) -> None:
    """Parts follow each other, cover every byte, and are what S3 takes."""
    if size > part * MOST_PARTS:
        with pytest.raises(TooLargeError):
            parts(size, part)
        return
    found = parts(size, part)
    assert len(found) <= MOST_PARTS
    position = 0
    for start, length in found:
        assert start == position
        assert length > 0
        position += length
    assert position == size
    assert all(length in S3_PART for _, length in found[:-1])


@given(size=st.integers(0, 300), part=st.integers(1, 40))
def test_parts_of_content_join_to_it(size: int, part: int) -> None:
    """Cut into its parts and joined again, a content is the same."""
    data = bytes(index % 256 for index in range(size))
    cut = [data[start : start + length] for start, length in parts(size, part)]
    assert b"".join(cut) == data


def test_fails_when_a_file_is_too_large() -> None:
    """A file with more parts than an upload has is refused with both numbers."""
    most = MOST_PARTS * PART_BYTES
    assert len(parts(most, PART_BYTES)) == MOST_PARTS
    with pytest.raises(TooLargeError) as refused:
        parts(most + 1, PART_BYTES)
    assert str(refused.value) == (
        f"a file must have at most {most} bytes, got {most + 1}; take a repository "
        "with smaller shards"
    )


def test_largest_file_of_the_hub_fits() -> None:
    """The largest file that the Hub takes (500 GB) is not too large."""
    assert parts(500 * 10**9, PART_BYTES)


def test_results_keep_their_order() -> None:
    """The slowest task holds back the results of the others, not their work."""
    late = threading.Event()

    def first() -> int:
        assert late.wait(10)
        return 0

    def last() -> int:
        late.set()
        return 1

    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        assert list(in_order(pool, [first, last])) == [0, 1]


def test_few_tasks_are_under_way() -> None:
    """No more tasks are begun than memory is planned for."""
    begun: list[int] = []
    with ThreadPoolExecutor(2 * IN_FLIGHT) as pool:
        results = in_order(pool, [partial(begun.append, item) for item in range(20)])
        next(results)
        pool.submit(int).result()
        assert len(begun) <= IN_FLIGHT


def test_failure_begins_nothing_more() -> None:
    """When a task fails, what is under way ends, and nothing else is begun."""
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        if number == 0:
            raise ValueError("task")

    tasks = [partial(work, number) for number in range(20)]
    with (
        pytest.raises(ValueError, match="task"),
        ThreadPoolExecutor(IN_FLIGHT) as pool,
    ):
        list(in_order(pool, tasks))
    assert len(begun) <= IN_FLIGHT


def test_checksums_are_those_of_git_and_of_lfs() -> None:
    """A small file is known by its git blob, one in LFS by its SHA-256."""
    data = b"hello\n"
    # what 'git hash-object' says of it
    blob = File("a", len(data), "git-sha1:ce013625030ba8dba906f756967f9e9ca394464a")
    large = File("b", len(data), f"sha256:{hashlib.sha256(data).hexdigest()}")
    for file in (blob, large):
        digest = hasher(file)
        digest.update(data)
        check(file, digest)
        digest.update(b"more")
        with pytest.raises(WrongContentError, match=f"^{file.path} must have checksum"):
            check(file, digest)
