"""One app with several stages, each an assembly of its own."""

import aws_cdk as cdk
import pytest

from eks_inference import (
    GpuInferencePool,
    Guardrails,
    PlatformRequirements,
    QueueScaledModel,
    Severity,
)
from tests.library.cases import default_pool
from tests.library.conftest import import_cluster, make_model, refusal

UNPINNED = "eks_inference:unpinnedImage"
HERE = cdk.Environment(account="111122223333", region="eu-central-1")


def stages(*names: str, env: cdk.Environment | None = None) -> list[cdk.Stack]:
    """Return a stack in each of several stages of one app."""
    app = cdk.App(analytics_reporting=False)
    return [cdk.Stack(cdk.Stage(app, name, env=env), "Stack") for name in names]


def app_of(stack: cdk.Stack) -> cdk.App:
    """Return the app that a stack belongs to."""
    app = stack.node.root
    assert isinstance(app, cdk.App)
    return app


def stage_of(stack: cdk.Stack) -> cdk.Stage:
    """Return the stage that a stack belongs to."""
    stage = cdk.Stage.of(stack)
    assert stage
    return stage


def serve_unpinned(stack: cdk.Stack) -> None:
    """Define a model whose image has no tag, on a pool of its own."""
    pool = default_pool(stack)
    QueueScaledModel(stack, "Chat", pool=pool, model=make_model(), image="vllm")


def told(stack: cdk.Stack) -> list[str]:
    """Return the information that stands in the assembly of a stack's stage."""
    return [
        str(message.entry.data)
        for synthesized in stage_of(stack).synth().stacks
        for message in synthesized.messages
        if str(message.level).endswith("INFO")
    ]


def test_switch_on_the_app_covers_its_stages() -> None:
    """A switch on the app counts in every stage, and each says so once."""
    one, two = stages("One", "Two")
    serve_unpinned(one)
    serve_unpinned(two)
    Guardrails.of(app_of(one)).switch(UNPINNED, Severity.OFF, reason="a trial")
    for stack in (one, two):
        assert told(stack) == [f"{UNPINNED} is off here: a trial"]


def test_switch_on_a_stage_covers_no_other() -> None:
    """A switch on one stage leaves the others as they are."""
    one, two = stages("One", "Two")
    serve_unpinned(one)
    serve_unpinned(two)
    Guardrails.of(stage_of(one)).switch(UNPINNED, Severity.OFF, reason="a trial")
    assert told(one) == [f"{UNPINNED} is off here: a trial"]
    with pytest.raises(RuntimeError, match=r"Two/Stack/Chat: .*unpinnedImage"):
        told(two)


def test_switch_on_a_construct_is_told_once() -> None:
    """A switch on a construct is reported by the construct's own stage only."""
    one, two = stages("One", "Two")
    serve_unpinned(one)
    default_pool(two)
    Guardrails.of(one).switch(UNPINNED, Severity.OFF, reason="a trial")
    assert (len(told(one)), told(two)) == (1, [])


def test_errors_name_the_stage_that_has_them() -> None:
    """A stage without problems is synthesized, and one with problems is not."""
    good, bad = stages("Good", "Bad")
    default_pool(good)
    serve_unpinned(bad)
    told(good)
    with pytest.raises(RuntimeError, match="Bad/Stack/Chat") as caught:
        told(bad)
    assert "Good" not in str(caught.value)


def test_stage_within_a_stage() -> None:
    """What a stage inside a stage holds is judged once, by the inner one."""
    (outer,) = stages("Outer")
    inner = cdk.Stack(cdk.Stage(stage_of(outer), "Inner"), "Stack")
    default_pool(outer)
    serve_unpinned(inner)
    with pytest.raises(RuntimeError, match="Outer/Inner/Stack/Chat") as caught:
        app_of(outer).synth()
    assert str(caught.value).count("unpinnedImage") == 1


def test_names_clash_between_stages() -> None:
    """Two stages cannot both make one pool on one cluster of one account."""
    one, two = stages("One", "Two", env=HERE)
    GpuInferencePool(one, "Gpu", cluster=import_cluster(one, name="shared"))
    cluster = import_cluster(two, name="shared")
    message = refusal(lambda: GpuInferencePool(two, "Gpu", cluster=cluster))
    assert "at 'Two/Stack/Gpu' and at 'One/Stack/Gpu'" in message


def test_stages_without_an_account_may_use_one_name() -> None:
    """Two stages whose accounts only their deployments decide do not clash."""
    for stack in stages("One", "Two"):
        cluster = import_cluster(stack, name="shared")
        GpuInferencePool(stack, "Gpu", cluster=cluster)


def test_names_clash_within_a_stage_without_an_account() -> None:
    """Two stacks of one stage go to one account, even when nobody knows which."""
    (one,) = stages("One")
    other = cdk.Stack(stage_of(one), "Other")
    GpuInferencePool(one, "Gpu", cluster=import_cluster(one, name="shared"))
    cluster = import_cluster(other, name="shared")
    message = refusal(lambda: GpuInferencePool(other, "Gpu", cluster=cluster))
    assert "at 'One/Other/Gpu' and at 'One/Stack/Gpu'" in message


def test_requirements_of_an_app_include_its_stages() -> None:
    """What an app needs is what its stages need."""
    (stack,) = stages("Prod")
    default_pool(stack)
    assert len(PlatformRequirements.of(app_of(stack)).requirements) == 2
