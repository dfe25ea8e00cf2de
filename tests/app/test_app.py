"""What the app says when it refuses, as its author reads it: no traceback."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.app.good_settings import ACCOUNT_RULE

ROOT = Path(__file__).parents[2]

REFUSED = 1
"""Exit status of the app when it refuses a stage."""


def run_app(
    project: Path, context: Mapping[str, object], output: Path
) -> subprocess.CompletedProcess[str]:
    """Run the app of a project as the CDK CLI does."""
    return subprocess.run(
        [sys.executable, "app.py"],
        cwd=project,
        env=os.environ
        | {"CDK_CONTEXT_JSON": json.dumps(context), "CDK_OUTDIR": str(output)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("context", "lines"),
    [
        (
            {"stage": "nope"},
            [
                (
                    "error: 'stage' must be one of 'dev', 'trial', 'prod', got 'nope'; "
                    "see infra/stages.py"
                )
            ],
        ),
        *(
            (
                {"stage": value},
                [
                    (
                        "error: 'stage' must be one of 'dev', 'trial', 'prod', "
                        f"got {value!r}; see infra/stages.py"
                    )
                ],
            )
            for value in ("", 1, True, ["dev"], {"dev": "prod"})
        ),
        (
            {"account": 111122223333, "region": "us-east-1"},
            [f"error: {ACCOUNT_RULE}, got 111122223333"],
        ),
        (
            {"account": "1111", "region": "nowhere"},
            [
                f"error: {ACCOUNT_RULE}, got '1111'",
                (
                    "error: 'region' must be an AWS region, got 'nowhere'; "
                    "for example 'us-east-1'"
                ),
            ],
        ),
    ],
)
def test_app_refuses_bad_context(
    context: dict[str, object], lines: list[str], tmp_path: Path
) -> None:
    """The app ends with status 1 and one line for each problem, without a traceback."""
    result = run_app(ROOT, context, tmp_path / "out")
    assert result.returncode == REFUSED
    assert result.stderr.splitlines() == lines
    assert result.stdout == ""
    assert not list(tmp_path.glob("out/*.template.json"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of the app that a test may change."""
    copy = tmp_path / "project"
    copy.mkdir()
    shutil.copy(ROOT / "app.py", copy)
    for package in ("infra", "k8s"):
        shutil.copytree(
            ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return copy


def test_app_names_every_problem_of_a_stage(project: Path, tmp_path: Path) -> None:
    """A stage in infra/stages.py with several problems prints them all and ends."""
    with (project / "infra/stages.py").open("a") as file:
        file.write(
            "STAGES['broken'] = Settings(\n"
            "    stage='broken',\n"
            "    kubernetes_version='1.28',\n"
            "    network=NetworkSettings(cidr='10.0.0.0/24', nat_gateways=0),\n"
            "    pools=(_GPU_24, _GPU_24),\n"
            ")\n"
        )
    result = run_app(project, {"stage": "broken"}, tmp_path / "out")
    lines = result.stderr.splitlines()
    assert result.returncode == REFUSED
    assert [line.split(" must ")[0] for line in lines] == [
        "error: 'kubernetes_version'",
        "error: network: 'cidr'",
        "error: network: 'nat_gateways'",
        "error: 'pools'",
        "error: pool 'gpu-24': 'models'",
        "error: pool 'gpu-24': 'models'",
    ]


def test_app_names_a_kubectl_that_is_not_installed(
    project: Path, tmp_path: Path
) -> None:
    """A version whose kubectl is missing is one line that names the package."""
    with (project / "infra/stages.py").open("a") as file:
        file.write(
            "from dataclasses import replace\n"
            "STAGES['dev'] = replace(STAGES['dev'], kubernetes_version='1.34')\n"
        )
    result = run_app(project, {}, tmp_path / "out")
    assert result.returncode == REFUSED
    assert result.stderr.splitlines() == [
        (
            "error: 'kubernetes_version' 1.34 needs a kubectl that is not installed; "
            "add aws-cdk.lambda-layer-kubectl-v34 to requirements.txt"
        )
    ]


PATCHES: dict[str, tuple[str, str, str, str]] = {
    "pool": (
        "consolidate_after_seconds=pool.consolidate_after_seconds,",
        "'NodePool': ('/spec/disruption/consolidateAfter', '30s')",
        (
            "Serving/Pools/gpu-24: 'consolidate_after_seconds' must be at least a cold "
            "start (300), got 30s; raise it"
        ),
        "eks_inference:consolidationShorterThanColdStart",
    ),
    "model": (
        "priority_class_name=INFERENCE_PRIORITY,",
        "'PodDisruptionBudget': ('/spec/maxUnavailable', 0)",
        (
            "Serving/Models/mistral-7b: disruption budget must have 'maxUnavailable' "
            "of at least 1, got 0; use maxUnavailable 1"
        ),
        "eks_inference:blockingDisruptionBudget",
    ),
}
"""Argument, the patch that stands beside it, the message, and the rule."""


@pytest.mark.parametrize("construct", PATCHES)
def test_app_stops_at_a_guardrail(
    construct: str, project: Path, tmp_path: Path
) -> None:
    """A patch that breaks a guardrail ends the app with the rule and its repair."""
    beside, patch, message, rule = PATCHES[construct]
    kind, _, change = patch.partition(": ")
    serving = project / "infra/serving.py"
    code = serving.read_text()
    patched = f"{beside} json_patches={{{kind}: [cdk8s.JsonPatch.replace(*{change})]}},"
    assert code.count(beside) == 1
    serving.write_text("import cdk8s\n" + code.replace(beside, patched))
    result = run_app(project, {}, tmp_path / "out")
    assert result.returncode == REFUSED
    assert message in result.stderr
    assert f"[{rule}]" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.glob("out/*.template.json"))


def test_app_stops_at_what_cdk_refuses(project: Path, tmp_path: Path) -> None:
    """A finding of cdk-nag that nobody has acknowledged ends the app and is named."""
    stack = project / "infra/registry.py"
    code = stack.read_text()
    stack.write_text(
        f"{code}\n        from aws_cdk import aws_sqs as sqs\n\n"
        "        sqs.Queue(self, 'Plain')\n"
    )
    result = run_app(project, {}, tmp_path / "out")
    assert result.returncode == REFUSED
    assert "AwsSolutions-SQS4" in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_app_synthesizes_what_it_does_not_refuse(project: Path, tmp_path: Path) -> None:
    """The copy that the tests above break is whole before."""
    result = run_app(project, {}, tmp_path / "out")
    assert result.returncode == 0
    assert len(list(tmp_path.glob("out/*.template.json"))) == 6
    assert "Traceback" not in result.stderr
