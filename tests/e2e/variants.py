"""What the project renders for vLLM: every signal, every way to wake, every example."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from eks_inference import (
    Accelerator,
    Activation,
    QueueScaling,
    ScalingFormula,
    SecretKey,
    Signal,
)
from eks_inference.manifests import Manifest
from eks_inference.manifests.model import serving_manifests
from eks_inference.manifests.serving import Serving
from tests.app.conftest import objects as objects_of_stage
from tests.app.conftest import other_choices, stage_templates, synthesize
from tests.library.conftest import WINDOW, make_model, make_pool, make_serving
from tests.library.test_examples import SHOWS
from tests.library.test_examples import objects as objects_of_example


@dataclass(frozen=True)
class Queue:
    """A queue as plain data."""

    queue_url: str = "https://sqs.eu-central-1.amazonaws.com/111122223333/jobs"
    queue_arn: str = "arn:aws:sqs:eu-central-1:111122223333:jobs"


SIGNALS: dict[str, Signal] = {
    "prometheus": Signal.prometheus(),
    "amp": Signal.amp(
        "https://aps-workspaces.eu-central-1.amazonaws.com/workspaces/ws-1",
        workspace_arn="arn:aws:aps:eu-central-1:111122223333:workspace/ws-1",
        region="eu-central-1",
    ),
    "otel-scaler": Signal.otel_scaler(),
    "kedify": Signal.kedify(),
}

ACTIVATIONS: dict[str, Activation] = {
    "schedule": WINDOW,
    "http": Activation.http(),
    "queue": Activation.queue(Queue()),
    "gateway": Activation.gateway('sum(envoy_requests{cluster="mistral"})'),
}


def scalings() -> dict[str, dict[str, Any]]:
    """Return values of ``Serving`` for every way to scale."""
    formula = ScalingFormula.queue_or_kv_cache(full_requests=3)
    return {
        **{f"signal {name}": {"signal": signal} for name, signal in SIGNALS.items()},
        "formula with the KV cache": {"scaling": QueueScaling(formula=formula)},
        **{
            f"zero, {name}": {
                "scaling": QueueScaling(min_replicas=0, activation=activation)
            }
            for name, activation in ACTIVATIONS.items()
        },
        "a window above one replica": {"scaling": QueueScaling(activation=WINDOW)},
    }


def servings() -> dict[str, Serving]:
    """Return every variant of a served model."""
    large = make_model(gpus=4, memory_gib=160, cpu=16)
    return {
        **{name: make_serving(**values) for name, values in scalings().items()},
        "T4": make_serving(pool=make_pool(accelerators=(Accelerator.T4,))),
        "four GPUs": make_serving(
            model=large,
            pool=make_pool(accelerators=(Accelerator.L40S,), gpus_per_node=4),
        ),
        "a key, a name of its own": make_serving(
            model=make_model(served_name="team/chat:1"), api_key=SecretKey("clients")
        ),
        "a shared cache": make_serving(cache_claim="vllm-compile-cache"),
    }


def variant_objects() -> dict[str, list[Manifest]]:
    """Return the Kubernetes objects of every variant."""
    return {name: serving_manifests(item) for name, item in servings().items()}


def example_objects() -> dict[str, list[Manifest]]:
    """Return the Kubernetes objects of every example."""
    return {f"example {name}": objects_of_example(name) for name in SHOWS}


def stage_objects() -> dict[str, list[Manifest]]:
    """Return the Kubernetes objects of both stages, and of one with other choices."""
    templates = {stage: stage_templates(stage) for stage in ("dev", "prod")}
    templates["other choices"] = synthesize(other_choices())
    return {
        f"stage {name}": list(objects_of_stage(found))
        for name, found in templates.items()
    }


def of_kind(groups: dict[str, list[Manifest]], kind: str) -> Iterator[tuple[str, Any]]:
    """Yield the objects of a kind, each with the name of its group and its own."""
    for group, items in groups.items():
        for item in items:
            if item["kind"] == kind:
                yield f"{group}: {item['metadata']['name']}", item


def container(deployment: Manifest) -> Manifest:
    """Return vLLM's container in a Deployment."""
    [found] = deployment["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found
