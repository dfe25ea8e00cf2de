"""Tests of the job as a process: what it is given, and how it ends."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.request import Request

import pytest

from eks_inference.importing import job
from eks_inference.importing.bucket import MARKER, BucketSource
from eks_inference.importing.files import SourceDeniedError
from eks_inference.importing.hub import SameOriginToken
from eks_inference.manifests.model_import import FINAL_CODES, job_modules
from tests.importing.conftest import PREFIX, Import
from tests.importing.stand_in import Handler, refuses

TOKEN = "hf_secret"


def environment(weights: Import) -> dict[str, str]:
    """Return what the pod of an import is given."""
    return {
        "SOURCE_REPO": weights.hub.repo,
        "SOURCE_REVISION": weights.hub.revision,
        "SOURCE_ENDPOINT": weights.hub.url,
        "TARGET_BUCKET": weights.bucket,
        "TARGET_PREFIX": PREFIX,
        "HF_TOKEN": f"{TOKEN}\n",
    }


def process(weights: Import, folder: Path) -> subprocess.Popen[str]:
    """Start the job as a pod does, from a folder that holds its modules alone."""
    package = folder / "importing"
    package.mkdir()
    for name, text in job_modules().items():
        (package / name).write_text(text)
    folder.chmod(0o555)
    package.chmod(0o555)
    return subprocess.Popen(
        [sys.executable, "-m", "importing.job"],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ENDPOINT_URL": weights.client.meta.endpoint_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "HOME": str(folder),
            "TMPDIR": str(folder),
            **environment(weights),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_modules_work_on_their_own(weights: Import, tmp_path: Path) -> None:
    """The mounted files are enough, write to no disk, and keep the token secret."""
    done = process(weights, tmp_path)
    out, err = done.communicate()
    assert (done.returncode, err) == (0, "")
    assert out.splitlines()[-1] == f"complete: s3://{weights.bucket}/{PREFIX}{MARKER}"
    assert TOKEN not in out
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(
        ["importing", *job_modules()]
    )
    shard = "model-1.safetensors"
    assert weights.objects()[shard] == weights.hub.files[shard]
    asked = {headers.get("Authorization") for _, _, headers in weights.hub.asked}
    assert asked == {f"Bearer {TOKEN}", None}


def test_stopped_pod_leaves_nothing_half_made(weights: Import, tmp_path: Path) -> None:
    """On SIGTERM the job ends with its own code, and its upload is aborted."""
    reached, release = threading.Event(), threading.Event()

    def hangs(handler: Handler) -> bool:
        reached.set()
        release.wait(30)
        return handler.refuse(500)

    weights.hub.faults["model-2.safetensors"] = [hangs]
    running = process(weights, tmp_path)
    assert reached.wait(30)
    running.send_signal(signal.SIGTERM)
    _, err = running.communicate()
    release.set()
    assert running.returncode == 10
    assert err.splitlines() == ["import failed: the pod was stopped"]
    assert MARKER not in weights.objects()
    assert weights.uploads() == []


@pytest.mark.parametrize(
    ("fault", "code"),
    [(refuses(401, "GatedRepo"), 13), (refuses(404, "RevisionNotFound"), 14)],
)
def test_failure_is_one_line_and_a_code(
    fault: Any, code: int, weights: Import, capsys: pytest.CaptureFixture[str]
) -> None:
    """What went wrong is one line of the log, and its kind the code of the process."""
    weights.hub.faults["listing"] = [fault]
    assert job.main(environment(weights), weights.client) == code
    assert code in FINAL_CODES
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("import failed: repository 'team/model' must ")
    assert TOKEN not in line


def test_success_is_code_zero(weights: Import) -> None:
    """An import that has ended well exits with 0, the first time and again."""
    assert job.main(environment(weights), weights.client) == 0
    assert job.main(environment(weights), weights.client) == 0


def test_bucket_is_the_source_where_no_repository_is(client: Any) -> None:
    """An environment without a repository names a bucket."""
    source = job.source_of(
        {"SOURCE_BUCKET": "team", "SOURCE_PREFIX": "a/", "SOURCE_REVISION": "1"},
        client,
    )
    assert isinstance(source, BucketSource)
    assert source.identity == {"bucket": "team", "prefix": "a/", "revision": "1"}


def test_fails_when_a_redirect_gives_up_tls() -> None:
    """An address without TLS is not followed from one with it."""
    with pytest.raises(SourceDeniedError, match="got http://cdn"):
        SameOriginToken().redirect_request(
            Request("https://hub/x"),
            None,
            302,
            "Found",
            {},
            "http://cdn/x",
        )
