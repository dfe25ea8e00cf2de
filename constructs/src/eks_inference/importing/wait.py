"""Waits until an import has written its marker; a model starts only then.

Runs in a pod, as one text on a command line.
"""

import os
import sys
import time  # noqa: TID251 - runs in a pod, never in a synthesis
from collections.abc import Callable
from typing import Any

POLL_SECONDS = 15
"""Assumed: a model of gigabytes takes minutes, and a question costs next to nothing."""


def wait(
    client: Any,
    bucket: str,
    key: str,
    *,
    seconds: float,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Return 0 when the marker is there, and otherwise why it is not.

    Args:
        client: S3 client.
        bucket: Name of the bucket.
        key: Key of the marker.
        seconds: How long it may take.
        sleep: Waits some seconds. Default: the clock's.
    """
    say(f"waits for s3://{bucket}/{key}")
    for _ in range(int(seconds // POLL_SECONDS) + 1):
        try:
            client.head_object(Bucket=bucket, Key=key)
        except client.exceptions.ClientError as error:
            code = error.response["Error"]["Code"]
        else:
            return 0
        if code in {"403", "AccessDenied"}:
            say(
                "the pod's role must have access, got 403; see its policy and the key's"
            )
            return 15
        sleep(POLL_SECONDS)
    say(f"the import must end within {seconds:.0f} s; see the log of its Job")
    return 10


def say(line: str) -> None:
    """Write a line to the log."""
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    import boto3  # type: ignore[import-untyped]

    sys.exit(
        wait(
            boto3.client("s3"),
            os.environ["MODEL_BUCKET"],  # noqa: TID251 - as above
            os.environ["MODEL_MARKER"],  # noqa: TID251 - as above
            seconds=float(os.environ["WAIT_SECONDS"]),  # noqa: TID251 - as above
        )
    )
