"""What the library's guardrails say of a stage, and a stage that judges otherwise."""

import aws_cdk as cdk
import pytest

from infra.stacks import define_stacks
from infra.validation import validate
from tests.app.conftest import new_app
from tests.app.good_settings import model, stage, switched


def told(app: cdk.App) -> list[str]:
    """Return what the guardrails say in the synthesis of an app."""
    return [
        str(message.entry.data)
        for synthesized in app.synth().stacks
        for message in synthesized.messages
        if "eks_inference:" in str(message.entry.data)
    ]


def test_switch_takes_effect_and_is_told() -> None:
    """A warning that a stage switches off is replaced by the switch and its reason."""
    rule = "eks_inference:noRoomForRollout"
    app, quiet = new_app(), new_app()
    define_stacks(app, validate(stage()))
    define_stacks(quiet, validate(switched(rule=rule, severity="off")))
    [warning] = told(app)
    assert rule in warning
    assert told(quiet) == [f"{rule} is off here: batch only"]


def test_model_that_does_not_fit_is_refused() -> None:
    """A checkpoint that does not fit its pool stops the synthesis of the stage."""
    app = new_app()
    large = model(checkpoint="llama-3.1-70b", weights_gb=None)
    define_stacks(app, validate(large))
    with pytest.raises(RuntimeError, match=r"must fit 1 of g6.xlarge \(l4\), got: w"):
        app.synth()
