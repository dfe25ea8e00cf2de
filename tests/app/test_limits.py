"""Whether the templates stay within what AWS takes, for one model and for many."""

import json
from typing import Any

import pytest

from eks_inference.testing import MANIFEST_TYPE
from infra.composition import MOST_MODELS
from infra.settings import Settings
from infra.stages import load
from tests.app.conftest import (
    RELEASE_TYPE,
    of_kind,
    other_choices,
    resources,
    synthesize,
    with_models,
)

MOST_RESOURCES = 500
"""Resources of a stack (CloudFormation quotas)."""

MOST_OUTPUTS = 200
"""Outputs of a stack (CloudFormation quotas)."""

LARGEST_TEMPLATE = 1024 * 1024
"""Size of a template in S3 in bytes (CloudFormation quotas)."""

LARGEST_EVENT = 256 * 1024
"""What CloudFormation can hand to CDK's kubectl handler: it invokes the function
asynchronously, which Lambda limits to 256 KB (Lambda quotas). A manifest is one string
in that event, so it must stay well below."""

LARGEST_ROLE_POLICY = 10_240
"""Characters without white space of all inline policies of a role (IAM quotas)."""

LARGEST_USER_DATA = 16 * 1024
"""User data of an instance in bytes, before it is encoded (EC2)."""

MANY = 50

STAGES = {
    "dev": load("dev"),
    "prod": load("prod"),
    "other choices": other_choices(),
    "many models": with_models(MANY),
}


@pytest.fixture(params=STAGES)
def settings(request: pytest.FixtureRequest) -> Settings:
    """Each stage whose size differs."""
    return STAGES[request.param]


def test_resources_of_a_stack(settings: Settings) -> None:
    """No stack has more resources or outputs than CloudFormation allows."""
    for stack, template in synthesize(settings).items():
        assert len(template["Resources"]) <= MOST_RESOURCES, stack
        assert len(template.get("Outputs", {})) <= MOST_OUTPUTS, stack


def test_size_of_a_template(settings: Settings) -> None:
    """No template is larger than CloudFormation reads."""
    for stack, template in synthesize(settings).items():
        assert size(template) <= LARGEST_TEMPLATE, stack


def test_size_of_a_manifest(settings: Settings) -> None:
    """Each resource that the kubectl handler gets fits the event that it is sent in."""
    sizes = [
        size(properties)
        for template in synthesize(settings).values()
        for kind in (MANIFEST_TYPE, RELEASE_TYPE)
        for properties in resources(template, kind).values()
    ]
    assert max(sizes) < LARGEST_EVENT / 2


def test_manifest_of_a_model_does_not_grow() -> None:
    """A manifest of one model is as large among many as alone."""
    few, many = (
        resources(synthesize(settings)["Serving"], MANIFEST_TYPE)
        for settings in (with_models(2), with_models(MANY))
    )
    assert few.keys() < many.keys()
    assert all(many[name] == few[name] for name in few if name.startswith("Models"))


def test_policies_of_a_role(settings: Settings) -> None:
    """The inline policies of each role fit into a role."""
    sizes = {
        logical_id: sum(
            policy_size(policy["PolicyDocument"]) for policy in role.get("Policies", ())
        )
        for template in synthesize(settings).values()
        for logical_id, role in resources(template, "AWS::IAM::Role").items()
    }
    assert max(sizes.values()) > 1000
    assert max(sizes.values()) <= LARGEST_ROLE_POLICY


def test_user_data_of_a_node(settings: Settings) -> None:
    """The user data of a GPU node fits, with room for what Karpenter adds."""
    classes = of_kind(synthesize(settings), "EC2NodeClass")
    for pool in settings.pools:
        user_data = classes[pool.name]["spec"].get("userData", "")
        # what comes from a snapshot is not pulled in parallel
        assert bool(user_data) is not bool(pool.image_snapshot)
        assert len(user_data.encode()) < LARGEST_USER_DATA / 4


def test_a_model_adds_a_constant_number_of_resources() -> None:
    """The fiftieth model costs as many resources as the second, all in one stack."""
    one, two, many = (counts(with_models(number)) for number in (1, 2, MANY))
    added = two["Serving"] - one["Serving"]
    assert added == 3
    assert many["Serving"] - one["Serving"] == added * (MANY - 1)
    assert {stack: many[stack] for stack in many if stack != "Serving"} == {
        stack: one[stack] for stack in one if stack != "Serving"
    }


def test_as_many_models_fit_as_the_settings_allow() -> None:
    """The largest number of models that settings allow stays within a stack."""
    one, two = (counts(with_models(number))["Serving"] for number in (1, 2))
    assert one + (two - one) * (MOST_MODELS - 1) <= MOST_RESOURCES
    template = synthesize(with_models(MANY))["Serving"]
    assert size(template) / MANY * MOST_MODELS <= LARGEST_TEMPLATE


def counts(settings: Settings) -> dict[str, int]:
    """Return the number of resources of each stack."""
    return {
        stack: len(template["Resources"])
        for stack, template in synthesize(settings).items()
    }


def size(value: Any) -> int:
    """Return the size in bytes of a value as CDK writes templates."""
    return len(json.dumps(value, indent=1).encode())


def policy_size(document: Any) -> int:
    """Return the characters of a policy; a reference is longer than its value."""
    return len(json.dumps(document, separators=(",", ":")))
