"""The stage that a newcomer deploys first: one command, and a model answers."""

from dataclasses import replace

from infra.stages import load
from tests.app.conftest import of_kind, stage_templates
from tests.app.questions import container, pod

MODEL = "qwen-7b"


def test_trial_is_dev_with_another_model() -> None:
    """What the tests show of the one stage holds for the other."""
    dev, trial = load("dev"), load("trial")
    assert replace(trial, stage="dev", models=dev.models) == dev


def test_trial_brings_its_own_weights() -> None:
    """A job imports a pinned revision, without a token and without an upload."""
    [model] = load("trial").models
    templates = stage_templates("trial")
    [job] = of_kind(templates, "Job").values()
    [imported] = job["spec"]["template"]["spec"]["containers"]
    text = str([*imported.get("args", []), *imported.get("env", [])])
    repository, _, revision = model.hugging_face.partition("@")
    for part in (repository, revision, model.prefix):
        assert part in text
    assert model.hugging_face_secret == ""
    assert "secretKeyRef" not in text


def test_trial_waits_for_its_weights() -> None:
    """The server starts when the import is complete, and reads what it has written."""
    templates = stage_templates("trial")
    [waits] = pod(templates, MODEL)["initContainers"]
    [model] = load("trial").models
    assert model.prefix in str(waits)
    assert model.prefix in str(container(templates, MODEL))
