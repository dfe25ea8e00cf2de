"""What an import does, from its environment to the code that it exits with."""

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .bucket import MARKER, BucketSource, Target
from .files import (
    PART_BYTES,
    File,
    ImportFailedError,
    IncompleteModelError,
    InterruptedImportError,
    UnsafeModelError,
    WrongContentError,
    parts,
)
from .hub import HubSource

TAKEN = (".json", ".jinja", ".model", ".tiktoken", ".txt")
"""Configuration, tokenizer and chat template, which are taken beside the weights."""

WEIGHTS = ".safetensors"
INDEX = "model.safetensors.index.json"
CONFIGURATIONS = ("config.json", "params.json")
"""One of them says what the weights are: Hugging Face's file, and Mistral's own."""

PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")
"""Endings of weights that Python's pickle wrote, which nothing here takes."""


Source = HubSource | BucketSource
"""Where a model comes from."""


def run(source: Source, target: Target, say: Callable[[str], None] = print) -> None:
    """Bring a model into the bucket, unless it is there already.

    Args:
        source: Where it comes from.
        target: Where it goes.
        say: Tells what happens. Default: to the log.

    Raises:
        ImportFailedError: The model is not there; there is no marker.
    """
    known = target.marker()
    if known.get("source") == source.identity:
        files = [File(**item) for item in known["files"]]
        if all(map(target.has, files)):
            say(f"{target.uri} is complete already: nothing was read from the source")
            return
    found = source.files()
    files = chosen(found, source.read)
    for file in files:
        parts(file.size, PART_BYTES)
    left = sorted({file.path for file in found} - {file.path for file in files})
    say(f"{len(files)} files of {_size(files)} go to {target.uri}")
    say(f"not taken: {', '.join(left) or 'nothing'}")
    for file in files:
        if target.has(file):
            say(f"kept {file.path}: it is there with {file.checksum}")
            continue
        source.send(file, target)
        if not target.has(file):
            raise WrongContentError(
                f"{target.uri}{file.path} must be what was written, got something else"
            )
        say(f"wrote {file.path}: {_size([file])}, {file.checksum}")
    target.mark(source.identity, files)
    say(f"complete: {target.uri}{MARKER}")


def chosen(files: Sequence[File], read: Callable[[File], bytearray]) -> list[File]:
    """Return the files that make the model, the weights last.

    Of the weights those that the index names; without one those of the top folder.

    Args:
        files: All files of the source.
        read: Returns the content of a file.

    Raises:
        IncompleteModelError: A file is missing.
        UnsafeModelError: There are pickles and no safetensors.
    """
    by_path = {file.path: file for file in files}
    if not any(name in by_path for name in CONFIGURATIONS):
        raise IncompleteModelError(
            f"the source must have {' or '.join(CONFIGURATIONS)}, got neither"
        )
    top = [path for path in by_path if path.endswith(WEIGHTS) and "/" not in path]
    if INDEX in by_path:
        weights = _indexed(bytes(read(by_path[INDEX])))
    else:
        # Mistral's own repositories hold the weights a second time
        weights = {path for path in top if not path.startswith("consolidated")}
        weights = weights or set(top)
    missing = sorted(weights - by_path.keys())
    if missing:
        raise IncompleteModelError(
            f"the source must have every file that {INDEX} names, got none of the name "
            f"{missing[0]!r} ({len(missing)} missing in all)"
        )
    if not weights:
        pickles = sorted(path for path in by_path if path.endswith(PICKLES))
        if pickles:
            raise UnsafeModelError(
                f"the weights must be safetensors, got pickles ({pickles[0]}), which "
                "run code when they are read; take a converted repository"
            )
        raise IncompleteModelError("the source must have safetensors, got none")
    taken = [path for path in by_path if path.endswith(TAKEN) and path != MARKER]
    return [by_path[path] for path in (*sorted(taken), *sorted(weights))]


def _indexed(content: bytes) -> set[str]:
    try:
        names = set(json.loads(content)["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        names = set()
    if not names or not all(
        isinstance(name, str) and name.endswith(WEIGHTS) for name in names
    ):
        raise IncompleteModelError(
            f"'weight_map' of {INDEX} must map tensors to safetensors"
        )
    return names


def _size(files: Sequence[File]) -> str:
    return f"{sum(file.size for file in files) / 1e9:.2f} GB"


def source_of(environment: Mapping[str, str], client: Any) -> Source:
    """Return the source that an environment names.

    Args:
        environment: Variables of the pod.
        client: S3 client.
    """
    if "SOURCE_REPO" in environment:
        return HubSource(
            environment["SOURCE_REPO"],
            environment["SOURCE_REVISION"],
            endpoint=environment["SOURCE_ENDPOINT"],
            token=environment.get("HF_TOKEN", "").strip(),
        )
    return BucketSource(
        client,
        environment["SOURCE_BUCKET"],
        environment["SOURCE_PREFIX"],
        environment["SOURCE_REVISION"],
    )


def main(environment: Mapping[str, str], client: Any) -> int:
    """Run an import; return the code that its process exits with.

    Args:
        environment: Variables of the pod.
        client: S3 client.
    """
    target = Target(client, environment["TARGET_BUCKET"], environment["TARGET_PREFIX"])
    try:
        run(source_of(environment, client), target)
    except ImportFailedError as error:
        print(f"import failed: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return error.code
    return 0


def stop(*_: object) -> None:
    """End an import whose pod is ended, so that it aborts what it has begun."""
    print("import failed: the pod was stopped", file=sys.stderr)  # noqa: T201
    sys.exit(InterruptedImportError.code)


if __name__ == "__main__":
    import boto3  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]

    signal.signal(signal.SIGTERM, stop)
    sys.exit(
        main(
            os.environ,  # noqa: TID251 - runs in a pod, never in a synthesis
            boto3.client("s3", config=Config(retries={"mode": "standard"})),
        )
    )
