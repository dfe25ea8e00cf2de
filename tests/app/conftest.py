"""The app of each stage, synthesized once for all tests."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest

from infra.settings import Settings
from infra.stacks import define_stacks
from infra.stages import STAGES, load

ROOT = Path(__file__).parents[2]

Templates = Mapping[str, Any]
"""Templates by the name of their stack."""


def feature_flags() -> dict[str, Any]:
    """Return what the CDK CLI hands to the app from cdk.json."""
    context: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text())["context"]
    return context


def new_app() -> cdk.App:
    """Return an empty app like the one that the CLI runs, without its metadata."""
    return cdk.App(context=feature_flags(), analytics_reporting=False)


def synthesize(settings: Settings) -> Templates:
    """Return the templates of a stage."""
    app = new_app()
    define_stacks(app, settings)
    assembly = app.synth()
    return {stack.id: stack.template for stack in assembly.stacks}


@cache
def stage_templates(
    stage: str, account: str | None = None, region: str | None = None
) -> Templates:
    """Return the templates of a stage of the app, synthesized once."""
    return synthesize(load(stage, account=account, region=region))


@pytest.fixture(params=sorted(STAGES))
def stage(request: pytest.FixtureRequest) -> str:
    """Each stage of the app."""
    return str(request.param)


@pytest.fixture
def templates(stage: str) -> Templates:
    """The templates of each stage of the app."""
    return stage_templates(stage)


@pytest.fixture
def dev() -> Templates:
    """The templates of the default stage."""
    return stage_templates("dev")
