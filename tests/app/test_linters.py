"""What the linters of policies and templates find, and cdk-nag: nothing unexplained."""

import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from cdk_nag import AwsSolutionsChecks
from constructs import Construct

from infra import guardrails
from tests.app.conftest import ROOT, other_choices
from tests.app.policies import (
    ANY,
    KARPENTER,
    KEY_OF_ACCOUNT,
    TRUST,
    VARIANTS,
    Policy,
    new_synthesis,
    policies,
    settings_of,
    synthesis,
)

LINTED: dict[tuple[str, str], str] = {
    (KARPENTER, "RESOURCE_MISMATCH"): (
        "RunInstances and CreateFleet need several kinds of resource, which are in "
        "several statements; AWS's own parameters have no account in their ARN"
    ),
    (KARPENTER, "PERMISSIONS_MANAGEMENT_ACTIONS"): (
        "PassRole: one role, to EC2 only, see the test of its own"
    ),
    ("Cluster/NodeRole/DefaultPolicy", "RESOURCE_MISMATCH"): (
        "BatchImportUpstreamImage takes repositories (ECR user guide, pull-through "
        "cache permissions); the linter's data is older"
    ),
    (
        "Cluster/SystemNodeRole/DefaultPolicy",
        "RESOURCE_MISMATCH",
    ): "as on the other role of nodes",
    (
        "Registry/Images/Pulls/PublicEcr--deep-learning-containers--vllm/Policy",
        "RESOURCE_MISMATCH",
    ): "as on the roles of nodes",
    ("Registry/Images/Pulls/Role", "CREDENTIALS_EXPOSURE"): (
        "GetAuthorizationToken: a pull needs the registry's token, and the role may "
        "read one repository"
    ),
    ("Cluster/Cluster/Role/DefaultPolicy", "PERMISSIONS_MANAGEMENT_ACTIONS"): (
        "CreateGrant: EKS encrypts secrets by a grant on this one key"
    ),
    ("Cluster/SecretsKey", "PERMISSIONS_MANAGEMENT_ACTIONS"): KEY_OF_ACCOUNT,
    ("Storage/Models/Key", "PERMISSIONS_MANAGEMENT_ACTIONS"): KEY_OF_ACCOUNT,
    ("Platform/Observability/Key", "PERMISSIONS_MANAGEMENT_ACTIONS"): KEY_OF_ACCOUNT,
    ("Storage/CompileCache", "MALFORMED"): (
        "a file system policy applies to its file system and needs no Resource"
    ),
    **dict.fromkeys(
        (
            ("Storage/Models/Resource/Policy", "PERMISSIONS_MANAGEMENT_ACTIONS"),
            ("Storage/Models/Resource/Policy", "RESOURCE_MISMATCH"),
            ("Storage/Models/Resource/Policy", "RESOURCE_POLICY_PRIVILEGE_ESCALATION"),
        ),
        "CDK's auto_delete_objects empties the bucket of a stage that does not retain",
    ),
}
"""Findings of the IAM linter that are meant, by construct: why."""

UNKNOWN_TO_LINTER: dict[str, str] = {}
"""Actions that are newer than the linter's data: where they are documented."""

COUNTED = {"MEDIUM", "HIGH", "CRITICAL"}


def iam_findings(policy: Policy) -> list[tuple[str, str, str]]:
    """Return severity, issue and detail of what the linter finds in a policy."""
    with warnings.catch_warnings():
        # it uses pkg_resources, and does not close its configuration
        warnings.simplefilter("ignore")
        import parliament  # type: ignore[import-untyped]  # noqa: PLC0415

        auditors = Path(parliament.__file__).parent / "community_auditors"
        parliament.override_config(str(auditors / "config_override.yaml"))
        analyzed = parliament.analyze_policy_string(
            json.dumps(policy.document), include_community_auditors=True
        )
        findings = [parliament.enhance_finding(item) for item in analyzed.findings]
    return [(item.severity, item.issue, str(item.detail)) for item in findings]


def test_iam_linter_finds_nothing_unexplained() -> None:
    """The IAM linter finds what the list explains, and nothing else."""
    found = {
        (policy.owner, issue)
        for variant in VARIANTS
        for policy in policies(synthesis(variant))
        if policy.where != TRUST
        for severity, issue, _ in iam_findings(policy)
        if severity in COUNTED
    }
    assert found == set(LINTED)


def test_iam_linter_knows_every_action() -> None:
    """Every action exists, as far as the linter's data goes."""
    unknown = {
        detail
        for variant in VARIANTS
        for policy in policies(synthesis(variant))
        for _, issue, detail in iam_findings(policy)
        if issue in {"UNKNOWN_ACTION", "UNKNOWN_PREFIX"}
    }
    assert unknown == set(UNKNOWN_TO_LINTER)


@pytest.mark.parametrize(
    ("action", "issue"),
    [
        ("s3:GetObjekt", "UNKNOWN_ACTION"),
        ("iam:CreateAccessKey", "PRIVILEGE_ESCALATION"),
        ("kms:PutKeyPolicy", "PERMISSIONS_MANAGEMENT_ACTIONS"),
    ],
)
def test_iam_linter_sees_a_bad_policy(action: str, issue: str) -> None:
    """The linter runs, with its optional auditors: it finds what is wrong."""
    statement = {"Effect": "Allow", "Action": action, "Resource": ANY}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    assert issue in {found for _, found, _ in iam_findings(Policy("", "", document))}


def template_lint(templates: list[Path]) -> list[dict[str, Any]]:
    """Return what cfn-lint finds."""
    result = subprocess.run(
        [
            Path(sys.executable).with_name("cfn-lint"),
            *("--regions", "us-east-1", "--format", "json", "--"),
            *templates,
        ],
        cwd=templates[0].parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    findings: list[dict[str, Any]] = json.loads(result.stdout)
    return findings


CDK_HANDLERS = re.compile(r"ClusterKubectlProvider|CustomS3AutoDeleteObjects")


def test_templates_pass_cfn_lint(tmp_path: Path) -> None:
    """cfn-lint finds nothing but a dependency that CDK states twice."""
    files = []
    for variant in VARIANTS:
        for stack, template in synthesis(variant).templates.items():
            files.append(tmp_path / f"{variant}-{stack}.json")
            files[-1].write_text(json.dumps(template))
    unexplained = [
        (finding["Rule"]["Id"], finding["Filename"], finding["Message"])
        for finding in template_lint(files)
        if finding["Rule"]["Id"] != "W3005"
        or not CDK_HANDLERS.match(finding["Location"]["Path"][1])
    ]
    assert not unexplained


def test_cfn_lint_sees_a_bad_template(tmp_path: Path) -> None:
    """The linter runs: it finds a property that does not exist."""
    file = tmp_path / "bad.json"
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"Colour": "red"}}
    file.write_text(json.dumps({"Resources": {"Queue": queue}}))
    assert [finding["Rule"]["Id"] for finding in template_lint([file])] == ["E3002"]


def run_with_validation(command: list[str], output: Path) -> list[dict[str, Any]]:
    """Run an app with CDK's own validation and return the reports of its plugins."""
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    environment = os.environ | {
        "CDK_CONTEXT_JSON": json.dumps(context),
        "CDK_OUTDIR": str(output),
    }
    environment.pop("CDK_VALIDATION", None)
    result = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    report = json.loads((output / "validation-report.json").read_text())
    reports: list[dict[str, Any]] = report["pluginReports"]
    return reports


def test_cdk_validates_the_default_stage(tmp_path: Path) -> None:
    """CDK's own CloudFormation validation and cdk-nag report nothing, as users run."""
    assert run_with_validation(["app.py"], tmp_path) == []


def test_cdk_validation_sees_a_bad_template(tmp_path: Path) -> None:
    """CDK's own validation runs unless it is switched off: it finds a bad value."""
    bad = (
        "import aws_cdk as cdk; from aws_cdk import aws_eks_v2 as eks\n"
        "app = cdk.App(); stack = cdk.Stack(app, 'Bad')\n"
        "eks.CfnAddon(stack, 'A', addon_name='a', cluster_name='c', "
        "resolve_conflicts='MAYBE')\n"
        "app.synth()\n"
    )
    reports = run_with_validation(["-c", bad], tmp_path)
    assert "MAYBE" in json.dumps(reports)


def nag_findings(app: cdk.App) -> set[tuple[str, str]]:
    """Return rule and construct of what AwsSolutions finds in a synthesized app."""
    return {
        (violation.rule_name, str(resource.construct_path))
        for violation in AwsSolutionsChecks(app).validate_scope(app).violations
        for resource in violation.violating_resources
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_aws_solutions_are_met(variant: str) -> None:
    """cdk-nag finds nothing that is not acknowledged."""
    assert nag_findings(synthesis(variant).app) == set()


def test_aws_solutions_are_met_by_every_choice() -> None:
    """Nor does it where a model is imported, woken, or kept behind a key."""
    choices = other_choices()
    assert any(model.hugging_face_secret for model in choices.models)
    assert nag_findings(new_synthesis(choices).app) == set()


def test_every_acknowledgement_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each acknowledged finding exists where it is acknowledged, and says why."""
    acknowledged: set[tuple[str, str]] = set()

    def record(scope: Construct, reason: str, ids: Any) -> None:
        assert len(reason.split()) >= 4, reason
        acknowledged.update((rule, scope.node.path) for rule in ids)

    monkeypatch.setattr(guardrails, "_acknowledge", record)
    found = set()
    for variant in VARIANTS:
        found |= nag_findings(new_synthesis(settings_of(variant)).app)
    assert acknowledged
    stale = [
        (rule, scope)
        for rule, scope in acknowledged
        if not any(
            rule == name and (path + "/").startswith(scope + "/")
            for name, path in found
        )
    ]
    assert not stale
