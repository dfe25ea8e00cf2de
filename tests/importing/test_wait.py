"""Tests of what holds a model back until its import has ended."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from eks_inference.importing.wait import POLL_SECONDS, wait
from eks_inference.manifests.model_import import wait_script
from tests.importing.test_bucket import refuse

KEY = "models/chat/.imported"


@pytest.fixture
def bucket(new_bucket: Callable[[str], str]) -> str:
    """A bucket for models."""
    return new_bucket("models")


def test_marker_that_is_there_is_found_at_once(client: Any, bucket: str) -> None:
    """A model whose import has ended waits for nothing."""
    client.put_object(Bucket=bucket, Key=KEY, Body=b"{}")
    waits: list[float] = []
    assert wait(client, bucket, KEY, seconds=60, sleep=waits.append) == 0
    assert waits == []


def test_marker_is_waited_for(client: Any, bucket: str) -> None:
    """As soon as the import has ended the model starts."""
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            client.put_object(Bucket=bucket, Key=KEY, Body=b"{}")

    assert wait(client, bucket, KEY, seconds=600, sleep=sleep) == 0
    assert waits == [POLL_SECONDS] * 3


def test_wait_is_bounded_and_quiet(
    client: Any, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without an import the wait ends, after two lines of log."""
    waits: list[float] = []
    assert wait(client, bucket, KEY, seconds=600, sleep=waits.append) == 10
    assert sum(waits) <= 600 + POLL_SECONDS
    assert capsys.readouterr().out.splitlines() == [
        f"waits for s3://{bucket}/{KEY}",
        "the import must end within 600 s; see the log of its Job",
    ]


def test_refusal_ends_the_wait(client: Any, bucket: str) -> None:
    """A role without access is said to be one, not waited with."""
    refuse(client, "HeadObject", "AccessDenied", 403)
    assert wait(client, bucket, KEY, seconds=600, sleep=lambda _: None) == 15


def test_passing_error_is_waited_out(client: Any, bucket: str) -> None:
    """What S3 cannot answer now is asked again."""
    refuse(client, "HeadObject", "503", 503)
    assert wait(client, bucket, KEY, seconds=30, sleep=lambda _: None) == 10


def test_script_works_on_a_command_line(client: Any, bucket: str) -> None:
    """The text alone is a program that ends well when the marker is there."""
    client.put_object(Bucket=bucket, Key=KEY, Body=b"{}")
    subprocess.run(
        [sys.executable, "-c", wait_script()],
        check=True,
        env={
            "PATH": os.environ["PATH"],
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ENDPOINT_URL": client.meta.endpoint_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "MODEL_BUCKET": bucket,
            "MODEL_MARKER": KEY,
            "WAIT_SECONDS": "60",
        },
    )
