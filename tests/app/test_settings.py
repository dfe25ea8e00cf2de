"""Every setting that is refused, with the whole message that its author reads."""

import re
from dataclasses import replace

import pytest

from eks_inference import ConfigurationError
from infra.settings import (
    ImageSettings,
    NetworkSettings,
    Settings,
    SystemNodes,
)
from infra.stages import load
from infra.validation import validate
from tests.app.bad_models import BAD_MODELS
from tests.app.bad_platform import BAD_PLATFORM
from tests.app.good_settings import (
    GOOD,
    MODEL,
    OFFICE,
    POOL,
    model,
    network,
    nodes,
    stage,
    whole_nodes,
    window,
)

BAD = {**BAD_PLATFORM, **BAD_MODELS}

TEN_PROBLEMS = Settings(
    stage="Bad",
    kubernetes_version="1.28",
    public_access_cidrs=("0.0.0.0/0",),
    network=NetworkSettings(cidr="8.8.0.0/16", zones=1),
    image=ImageSettings(tag="latest"),
    system_nodes=SystemNodes(count=1),
    pools=(replace(POOL, capacity="reserved"),),
    models=(replace(MODEL, prefix="models", max_num_seqs=1),),
)

FORM = re.compile(r"([a-z_]+( '[^']+')?: )?'[\w.]+'.* must .*")
"""Quoted name, rule, value got; the repair where the rule does not already say it."""


def problems_of(settings: Settings) -> tuple[str, ...]:
    """Return what is wrong with settings."""
    try:
        validate(settings)
    except ConfigurationError as error:
        return error.problems
    return ()


def test_good_settings_are_accepted() -> None:
    """The settings that every bad case departs from have no problem."""
    assert problems_of(GOOD) == ()
    assert problems_of(window()) == ()


@pytest.mark.parametrize(
    "settings",
    [
        network(cidr="172.16.0.0/16"),
        model(checkpoint="mistral-7b-awq", weights_gb=None, max_model_len=None),
        network(cidr="192.168.0.0/16"),
        nodes(instance_type="m7i-flex.large"),
        nodes(instance_type="c6id.metal"),
        model(prefix="team=a/v1.0+b@c/"),
        window(start="*/15,45 0-6/2 1 JAN-MAR sun", end="0 18 * * MON-FRI"),
        whole_nodes(replace(MODEL, gpus=3, max_replicas=3)),
        whole_nodes(
            replace(MODEL, gpus=3, max_replicas=3),
            replace(MODEL, name="code", max_replicas=3),
        ),
        stage(admin_role_arns=["arn:aws:iam::111122223333:user/team/admin"]),
        stage(public_access_cidrs=[OFFICE]),
    ],
)
def test_unusual_settings_are_accepted(settings: Settings) -> None:
    """What is near to a bad case, and right, is not refused."""
    assert problems_of(settings) == ()


@pytest.mark.parametrize("case", BAD)
def test_bad_setting_gets_one_clear_message(case: str) -> None:
    """A bad value yields exactly one message: name, rule, value, repair."""
    settings, message = BAD[case]
    assert problems_of(settings) == (message,)


@pytest.mark.parametrize("case", BAD)
def test_messages_have_one_form(case: str) -> None:
    """Every message quotes the setting, states the rule and shows what it got."""
    _, message = BAD[case]
    assert FORM.fullmatch(message)
    assert ", got " in message or "must not be empty; " in message


def test_all_problems_are_reported_at_once() -> None:
    """A stage with ten problems names all ten, in the order of the settings."""
    places = [
        "'stage'",
        "'kubernetes_version'",
        "'public_access_cidrs'",
        "network: 'cidr'",
        "network: 'zones'",
        "image: 'tag'",
        "system_nodes: 'count'",
        "pool 'gpu-24': 'capacity'",
        "model 'chat': 'prefix'",
        "model 'chat': 'max_num_seqs'",
    ]
    found = [problem.split(" must ")[0] for problem in problems_of(TEN_PROBLEMS)]
    assert found == places


def test_stage_is_valid(stage: str) -> None:
    """Every stage of the app keeps all rules, with and without a place to go to."""
    assert load(stage).stage == stage
    placed = load(stage, account="111122223333", region="us-east-1")
    assert (placed.account, placed.region) == ("111122223333", "us-east-1")


def test_empty_account_is_not_one_that_is_missing() -> None:
    """An account that is given and empty is refused, not taken for none."""
    with pytest.raises(ConfigurationError) as caught:
        load("dev", account="", region="us-east-1")
    assert caught.value.problems == (
        "'account' must be an AWS account id (a text of 12 digits), got ''",
    )


def test_dev_is_the_default_stage() -> None:
    """Without a name, the stage that may be deleted is loaded."""
    assert load() == load("dev")
    assert not load().retain
