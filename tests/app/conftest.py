"""The app of each stage, synthesized once for all tests, and questions to ask of it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest

from eks_inference.manifests import Manifest
from eks_inference.testing import manifests
from infra.settings import (
    ImageSettings,
    ModelSettings,
    PoolSettings,
    Schedule,
    Settings,
)
from infra.stacks import define_stacks
from infra.stages import load
from infra.validation import validate
from tests.app import policies
from tests.app.good_settings import OFFICE

ROOT = Path(__file__).parents[2]

RELEASE_TYPE = "Custom::AWSCDK-EKS-HelmChart"
"""CloudFormation type of a Helm release."""

Templates = Mapping[str, Any]
"""Templates by the name of their stack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Synthesis:
    """What one synthesis has produced."""

    templates: Templates
    names: tuple[str, ...]
    """The stacks as CloudFormation knows them."""
    needs: Mapping[str, frozenset[str]]
    """The stacks that each stack is deployed after, and deleted before."""
    warnings: tuple[str, ...]
    protected: Mapping[str, bool]
    """Whether each stack has termination protection."""


def feature_flags() -> dict[str, Any]:
    """Return what the CDK CLI hands to the app from cdk.json."""
    context: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text())["context"]
    return context


def new_app(outdir: Path | None = None) -> cdk.App:
    """Return an empty app like the one that the CLI runs, without its metadata."""
    return cdk.App(
        context=feature_flags(),
        analytics_reporting=False,
        outdir=str(outdir) if outdir else None,
    )


@cache
def synthesis(settings: Settings) -> Synthesis:
    """Return everything that a stage becomes, synthesized once."""
    app = new_app()
    define_stacks(app, validate(settings))
    stacks = app.synth().stacks
    ids = {stack.id for stack in stacks}
    return Synthesis(
        templates={stack.id: stack.template for stack in stacks},
        names=tuple(stack.stack_name for stack in stacks),
        needs={
            stack.id: frozenset(
                needed.id for needed in stack.dependencies if needed.id in ids
            )
            for stack in stacks
        },
        warnings=tuple(
            str(message.entry.data)
            for stack in stacks
            for message in stack.messages
            if message.level is cdk.cx_api.SynthesisMessageLevel.WARNING
        ),
        protected={stack.id: bool(stack.termination_protection) for stack in stacks},
    )


def synthesize(settings: Settings) -> Templates:
    """Return the templates of a stage."""
    return synthesis(settings).templates


def stage_templates(
    stage: str, account: str | None = None, region: str | None = None
) -> Templates:
    """Return the templates of a stage of the app, synthesized once."""
    return synthesize(load(stage, account=account, region=region))


def other_choices() -> Settings:
    """Return a stage that makes every choice that the app's own stages do not make."""
    dev = load("dev")
    gpu_24, mistral = dev.pools[0], dev.models[0]
    return replace(
        dev,
        shared_compile_cache=False,
        docker_hub_secret="ecr-pullthroughcache/docker-hub",
        admin_role_arns=("arn:aws:iam::111122223333:role/Admin",),
        public_access_cidrs=(OFFICE,),
        image=ImageSettings(digest="sha256:" + "0" * 64),
        network=replace(dev.network, interface_endpoints=()),
        pools=(
            gpu_24,
            PoolSettings(
                name="gpu-16", accelerators=("t4",), capacity="on-demand", max_gpus=5
            ),
            PoolSettings(
                name="gpu-48",
                accelerators=("l40s",),
                gpus_per_node=4,
                max_gpus=12,
                image_snapshot="snap-0123456789abcdef0",
            ),
        ),
        models=(
            mistral,
            ModelSettings(
                name="office-hours",
                pool="gpu-16",
                prefix="models/office-hours/",
                weights_gb=4,
                max_model_len=4096,
                min_replicas=0,
                max_replicas=4,
                schedule=Schedule(
                    timezone="Europe/Berlin", start="0 8 * * 1-5", end="0 18 * * 1-5"
                ),
                on_request="hold",
                gateway_query='sum(envoy_requests{cluster="office-hours"})',
                served_name="office/hours",
                api_key_secret="office-hours-clients",
            ),
            ModelSettings(
                name="large",
                pool="gpu-48",
                prefix="models/large/",
                weights_gb=140,
                max_model_len=8192,
                gpus=4,
                cpu=16,
                memory_gib=160,
                max_replicas=2,
                hugging_face=f"owner/large@{'0' * 40}",
                hugging_face_secret="hub",
                jobs_queue_arn="arn:aws:sqs:us-east-1:111122223333:jobs",
            ),
        ),
    )


def with_models(count: int) -> Settings:
    """Return the default stage with this number of models, the first one its own."""
    dev = load("dev")
    [pool], [first] = dev.pools, dev.models
    others = (
        replace(first, name=f"model-{number}", prefix=f"models/model-{number}/")
        for number in range(2, count + 1)
    )
    return replace(
        dev,
        pools=(replace(pool, max_gpus=first.max_replicas * count + 1),),
        models=(first, *others),
    )


def resources(template: Any, kind: str) -> dict[str, Any]:
    """Return the properties of all resources of a type, by logical id."""
    return {
        logical_id: resource.get("Properties", {})
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def only(template: Any, kind: str) -> Any:
    """Return the properties of the only resource of a type."""
    [properties] = resources(template, kind).values()
    return properties


def statements(policy: Any) -> list[dict[str, Any]]:
    """Return the statements of a policy document with lists where IAM allows both."""
    return [
        {
            key: value if isinstance(value, list) else [value]
            for key, value in statement.items()
        }
        for statement in policy["Statement"]
    ]


def objects(templates: Templates) -> Iterator[Manifest]:
    """Yield every Kubernetes object of a stage."""
    for template in templates.values():
        for group in manifests(template).values():
            yield from group


def of_kind(templates: Templates, kind: str) -> dict[str, Manifest]:
    """Return the objects of one kind by name, which must be unique."""
    found = [item for item in objects(templates) if item["kind"] == kind]
    named = {item["metadata"]["name"]: item for item in found}
    assert len(named) == len(found), f"two objects of kind {kind} have the same name"
    return named


@pytest.fixture(params=["dev", "prod"])
def stage(request: pytest.FixtureRequest) -> str:
    """Each stage of the app; ``trial`` is ``dev`` with another model (test_trial)."""
    return str(request.param)


@pytest.fixture
def templates(stage: str) -> Templates:
    """The templates of each stage of the app."""
    return stage_templates(stage)


@pytest.fixture
def dev() -> Templates:
    """The templates of the default stage."""
    return stage_templates("dev")


@pytest.fixture
def prod() -> Templates:
    """The templates of the stage that is protected."""
    return stage_templates("prod")


@pytest.fixture(params=policies.VARIANTS)
def made(request: pytest.FixtureRequest) -> policies.Synthesis:
    """Each stage, one with every option, and one for an account and region."""
    return policies.synthesis(str(request.param))
