"""Tests of an import from the Hub: what arrives, what is kept, what is refused."""

import hashlib
import json
import threading
from typing import Any

import pytest

from eks_inference.importing import files
from eks_inference.importing.bucket import MARKER
from eks_inference.importing.files import (
    ImportFailedError,
    IncompleteModelError,
    InterruptedImportError,
    NotFoundError,
    SourceDeniedError,
    UnsafeModelError,
    WrongContentError,
)
from tests.importing.conftest import PART, Import, content
from tests.importing.stand_in import cuts, redirects, refuses

SHARD = "model-1.safetensors"
NO_MAP = "'weight_map' of model.safetensors.index.json must map tensors to safetensors"
TAKEN = {
    "config.json",
    SHARD,
    "model-2.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
}


def failed(weights: Import, kind: type[ImportFailedError], **changes: Any) -> str:
    """Run an import that fails; return why, when nothing half-made is left."""
    with pytest.raises(kind) as refused:
        weights.run(**changes)
    assert MARKER not in weights.objects()
    assert weights.uploads() == []
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_model_arrives_and_the_marker_names_every_file(weights: Import) -> None:
    """Weights, configuration and tokenizer are copied, and nothing else."""
    weights.run()
    objects = weights.objects()
    marker = json.loads(objects.pop(MARKER))
    assert objects == {path: weights.hub.files[path] for path in TAKEN}
    assert marker["source"] == {
        "endpoint": weights.hub.url,
        "repo": weights.hub.repo,
        "revision": weights.hub.revision,
    }
    assert {item["path"]: item["size"] for item in marker["files"]} == {
        path: len(weights.hub.files[path]) for path in TAKEN
    }
    [shard] = [item for item in marker["files"] if item["path"] == SHARD]
    digest = hashlib.sha256(weights.hub.files[SHARD]).hexdigest()
    assert shard["checksum"] == f"sha256:{digest}"
    [left] = [line for line in weights.lines if line.startswith("not taken")]
    assert left == ("not taken: README.md, consolidated.safetensors, pytorch_model.bin")


def test_marker_is_written_last(weights: Import) -> None:
    """Whoever sees the marker finds every file."""
    weights.run()
    written = weights.client.list_object_versions(Bucket=weights.bucket)["Versions"]
    times = {item["Key"].split("/")[-1]: item["LastModified"] for item in written}
    assert times[MARKER] == max(times.values())
    order = [line for line in weights.lines if line.startswith(("wrote", "complete"))]
    assert order[-1].startswith("complete")
    assert order[-2].startswith("wrote model-2")


def test_listing_is_read_to_its_last_page(weights: Import) -> None:
    """A listing of several pages is followed to its end."""
    weights.hub.page = 2
    weights.run()
    assert set(weights.objects()) == TAKEN | {MARKER}


def test_large_file_is_fetched_in_parts(weights: Import) -> None:
    """A file of three parts is asked for in three ranges that make it up."""
    weights.run()
    size = len(weights.hub.files[SHARD])
    assert sorted(weights.hub.fetched(SHARD)) == sorted(
        [
            f"bytes=0-{PART - 1}",
            f"bytes={PART}-{2 * PART - 1}",
            f"bytes={2 * PART}-{size - 1}",
        ]
    )


def test_broken_connection_goes_on_at_its_byte(weights: Import) -> None:
    """Bytes that have arrived are not fetched again."""
    data = weights.hub.files[SHARD]
    weights.hub.faults[SHARD] = [cuts(1_000, data)]
    weights.run()
    assert weights.objects()[SHARD] == data
    ranges = [span.removeprefix("bytes=") for span in weights.hub.fetched(SHARD)]
    starts = sorted(int(span.split("-")[0]) for span in ranges)
    assert len(starts) == 4
    assert {start % PART for start in starts} == {0, 1_000}
    assert weights.waits == [1]


def test_interrupted_import_keeps_what_is_complete(weights: Import) -> None:
    """A second attempt fetches only the files that the first one did not end."""
    last = "model-2.safetensors"
    weights.hub.faults[last] = [refuses(503)] * 6
    message = failed(weights, InterruptedImportError)
    assert message.startswith(f"{last} from byte 0 must arrive, got 6 failures in a ")
    assert weights.waits == [1, 2, 4, 8, 16]
    weights.hub.asked.clear()
    weights.run()
    assert set(weights.objects()) == TAKEN | {MARKER}
    assert weights.hub.fetched(SHARD) == []
    assert len(weights.hub.fetched(last)) == 1


def test_failed_upload_is_aborted(weights: Import) -> None:
    """Of a file that does not arrive in whole, no part stays and nothing is visible."""
    weights.hub.faults[SHARD] = [refuses(500)] * 40
    failed(weights, InterruptedImportError)
    assert SHARD not in weights.objects()


def test_progress_starts_the_count_of_failures_anew(weights: Import) -> None:
    """A slow line that brings some bytes each time is not given up."""
    path = "model-2.safetensors"
    weights.hub.faults[path] = [cuts(5_000, weights.hub.files[path])] * 10
    weights.run()
    assert weights.objects()[path] == weights.hub.files[path]
    assert weights.waits == [1] * 10


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_passing_errors_are_tried_again(code: int, weights: Import) -> None:
    """What may pass is asked for again, also of the listing."""
    weights.hub.faults["listing"] = [refuses(code)]
    weights.hub.faults["config.json"] = [refuses(code)]
    weights.run()
    assert set(weights.objects()) == TAKEN | {MARKER}


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry_After": "7"}, 7),
        ({"RateLimit": '"resolvers";r=0;t=42'}, 42),
        ({"Retry_After": "86400"}, 300),
        ({"Retry_After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 1),
    ],
)
def test_rate_limit_is_waited_for(
    headers: dict[str, str], wait: int, weights: Import
) -> None:
    """The Hub says how long to wait, within bounds."""
    weights.hub.faults["listing"] = [refuses(429, **headers)]
    weights.run()
    assert weights.waits == [wait]


@pytest.mark.parametrize("path", [SHARD, "model-2.safetensors", "config.json"])
def test_fails_when_the_content_is_wrong(path: str, weights: Import) -> None:
    """A flipped byte is found, and the file never becomes visible."""
    good = weights.hub.files[path]
    weights.hub.published[path] = good
    weights.hub.files[path] = good[:-1] + bytes([good[-1] ^ 1])
    message = failed(weights, WrongContentError)
    assert message.startswith(f"{path} must have checksum ")
    assert message.endswith("; nothing of it was kept")
    assert path not in weights.objects()


def test_fails_when_the_size_is_wrong(weights: Import) -> None:
    """A file of another size than the listing says is refused at its first answer."""
    weights.hub.published[SHARD] = weights.hub.files[SHARD]
    weights.hub.files[SHARD] += b"more"
    message = failed(weights, WrongContentError)
    assert message.startswith(f"{SHARD} must have {len(weights.hub.files[SHARD]) - 4} ")


def test_fails_when_ranges_are_ignored(weights: Import) -> None:
    """A host that begins at byte 0 whatever it is asked does not corrupt a file."""
    data = weights.hub.files[SHARD]

    def ignores(handler: Any) -> bool:
        handler.send_file(data, ranges=False)
        return True

    weights.hub.faults[SHARD] = [ignores] * 9
    message = failed(weights, WrongContentError)
    assert "be readable from byte" in message
    assert SHARD not in weights.objects()


def test_fails_when_a_shard_is_missing(weights: Import) -> None:
    """A file that the index names must be there, before anything is copied."""
    del weights.hub.files["model-2.safetensors"]
    assert failed(weights, IncompleteModelError) == (
        "the source must have every file that model.safetensors.index.json names, got "
        "none of the name 'model-2.safetensors' (1 missing in all)"
    )
    assert weights.objects() == {}


@pytest.mark.parametrize(
    ("code", "reason"), [(401, "GatedRepo"), (403, "GatedRepo"), (401, "RepoNotFound")]
)
def test_fails_when_access_is_refused(code: int, reason: str, weights: Import) -> None:
    """A gated repository is said to be one, and is not asked again."""
    weights.hub.faults["listing"] = [refuses(code, reason)]
    message = failed(weights, SourceDeniedError)
    assert f"got {code} ({reason}) from 127.0.0.1" in message
    assert "accept the model's licence" in message
    assert weights.waits == []


def test_fails_when_the_revision_is_unknown(weights: Import) -> None:
    """A commit that the repository does not have is named."""
    unknown = "f" * 40
    message = failed(weights, NotFoundError, revision=unknown)
    assert f"must have revision '{unknown}'" in message
    assert "404 (RevisionNotFound)" in message


def test_token_stays_with_the_hub(weights: Import) -> None:
    """The host of the large files never sees the token, and the Hub always does."""
    weights.hub.page = 3
    weights.run(token="hf_secret")
    hosts: dict[str, set[str | None]] = {weights.hub.url: set(), weights.hub.cdn: set()}
    for host, _, headers in weights.hub.asked:
        hosts[host].add(headers.get("Authorization"))
    assert hosts == {weights.hub.url: {"Bearer hf_secret"}, weights.hub.cdn: {None}}
    assert "hf_secret" not in str(weights.lines)
    assert b"hf_secret" not in b"".join(weights.objects().values())


def test_token_follows_a_redirect_on_the_same_host(weights: Import) -> None:
    """A repository that was renamed is found with the token."""
    path = f"/api/models/{weights.hub.repo}/tree/{weights.hub.revision}"
    weights.hub.faults["listing"] = [redirects(f"{weights.hub.url}{path}")]
    weights.run(token="hf_secret")
    asked = [item for item in weights.hub.asked if "/api/" in item[1]]
    assert len(asked) == 2
    assert {item[2].get("Authorization") for item in asked} == {"Bearer hf_secret"}


def test_error_of_the_other_host_shows_no_signature(weights: Import) -> None:
    """An address that holds a signature is not written to the log."""
    weights.hub.faults[f"redirect {SHARD}"] = [
        redirects(f"{weights.hub.cdn}/cdn/gone?X-Amz-Signature=s3cret")
    ] * 9
    assert "s3cret" not in failed(weights, NotFoundError)


def test_second_run_fetches_nothing(weights: Import) -> None:
    """What is complete is not asked for again, not even its listing."""
    weights.run()
    weights.hub.asked.clear()
    weights.run()
    assert weights.hub.asked == []
    assert weights.lines[-1].endswith("nothing was read from the source")


def test_lost_object_is_brought_again(weights: Import) -> None:
    """A complete import from which an object was lost is made whole, and only that."""
    weights.run()
    weights.client.delete_object(Bucket=weights.bucket, Key="models/chat/config.json")
    weights.hub.asked.clear()
    weights.run()
    assert set(weights.objects()) == TAKEN | {MARKER}
    assert len(weights.hub.fetched()) == 2  # the index, and what was lost


def test_another_revision_brings_what_has_changed(weights: Import) -> None:
    """With another commit, files are compared, and the marker names that commit."""
    weights.run()
    weights.hub.revision = "a" * 40
    weights.hub.files["config.json"] = b'{"architectures": ["Other"]}'
    weights.hub.asked.clear()
    weights.run()
    assert weights.objects()["config.json"] == b'{"architectures": ["Other"]}'
    assert weights.hub.fetched(SHARD) == []
    marker = json.loads(weights.objects()[MARKER])
    assert marker["source"]["revision"] == "a" * 40


def test_two_jobs_at_once_do_no_harm(weights: Import) -> None:
    """Two imports of one revision at once both end, and the model is whole."""
    failures = []

    def once() -> None:
        try:
            weights.run()
        except BaseException as error:  # noqa: BLE001 - whatever it is
            failures.append(error)

    threads = [threading.Thread(target=once) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    objects = weights.objects()
    assert objects.pop(MARKER)
    assert objects == {path: weights.hub.files[path] for path in TAKEN}
    assert weights.uploads() == []


def test_single_file_without_index_is_taken(weights: Import) -> None:
    """One file of weights needs no index; that of Mistral's own loader stays."""
    for path in ("model.safetensors.index.json", SHARD, "model-2.safetensors"):
        del weights.hub.files[path]
    weights.hub.files["model.safetensors"] = content(7_000)
    weights.hub.files["sub/other.safetensors"] = content(100)
    weights.run()
    assert set(weights.objects()) == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        MARKER,
    }


def test_fails_when_there_are_pickles_only(weights: Import) -> None:
    """Weights that run code when they are read are refused."""
    weights.hub.files = {"config.json": b"{}", "pytorch_model.bin": b"a pickle"}
    assert failed(weights, UnsafeModelError) == (
        "the weights must be safetensors, got pickles (pytorch_model.bin), which run "
        "code when they are read; take a converted repository"
    )


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (
            {"model.safetensors": b"1"},
            "the source must have config.json or params.json, got neither",
        ),
        ({"config.json": b"{}"}, "the source must have safetensors, got none"),
        (
            {
                "params.json": b"{}",
                "model.safetensors.index.json": b'{"weight_map": {"a": "b.bin"}}',
            },
            NO_MAP,
        ),
        (
            {"params.json": b"{}", "model.safetensors.index.json": b"[]"},
            NO_MAP,
        ),
    ],
)
def test_fails_when_the_model_is_incomplete(
    held: dict[str, bytes], message: str, weights: Import
) -> None:
    """What no loader could load is refused before a byte is copied."""
    weights.hub.files = held
    assert failed(weights, IncompleteModelError) == message


def test_fails_when_a_file_is_too_large(
    weights: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file with too many parts is refused before a byte of any is written."""
    monkeypatch.setattr(files, "MOST_PARTS", 2)
    assert "must have at most" in failed(weights, files.TooLargeError)
    assert weights.objects() == {}


def test_fails_when_the_bucket_keeps_something_else(weights: Import) -> None:
    """What was written is asked for once more, and must be what was sent."""

    def forget(params: dict[str, Any], **_: object) -> None:
        params["Metadata"] = {}

    weights.client.meta.events.register("provide-client-params.s3.PutObject", forget)
    message = failed(weights, WrongContentError)
    assert message.endswith("must be what was written, got something else")


def test_empty_file_arrives(weights: Import) -> None:
    """A file without content is a file."""
    weights.hub.files["added_tokens.json"] = b""
    weights.run()
    assert weights.objects()["added_tokens.json"] == b""
