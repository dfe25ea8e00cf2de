"""An app that breaks a rule, and what it is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aws_cdk as cdk
from cdk8s import JsonPatch

from eks_inference import (
    Activation,
    Capacity,
    GpuInferencePool,
    QueueScaledModel,
    QueueScaling,
    Signal,
)
from tests.library.cases import default_model, default_pool

POD = "/spec/template/spec"
CONTAINER = f"{POD}/containers/0"
BEHAVIOR = "/spec/advanced/horizontalPodAutoscalerConfig/behavior"
QUERY = "/spec/triggers/0/metadata/query"
DATA_VOLUME = "/spec/blockDeviceMappings/1/ebs"
GPU_LIMIT = f"{CONTAINER}/resources/limits/nvidia.com~1gpu"


@dataclass(frozen=True, kw_only=True)
class Broken:
    """An app that breaks one rule.

    Args:
        rule: Last part of the rule's id.
        says: What the app is told, each with the rule's id.
        pool: Arguments of the pool.
        model: Arguments of the model, or None where there is none.
        limits: Limits of what is served.
    """

    rule: str
    says: Sequence[str]
    pool: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] | None = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Id of the rule."""
        return f"eks_inference:{self.rule}"

    def define(self, stack: cdk.Stack) -> GpuInferencePool:
        """Define the pool and the model that break the rule."""
        made = default_pool(stack, **self.pool)
        if self.model is not None:
            served = default_model(stack, **self.limits)
            QueueScaledModel(stack, "Chat", pool=made, model=served, **self.model)
        return made


def patched(kind: str, *patches: JsonPatch) -> dict[str, Any]:
    """Return the argument that changes the rendered object of a kind."""
    return {"json_patches": {kind: list(patches)}}


def query(text: str) -> dict[str, Any]:
    """Return the argument that changes the first query."""
    return patched("ScaledObject", JsonPatch.replace(QUERY, text))


LABELS = '{namespace="inference",job="inference/mistral",model_name="mistral"}'
RUNNING = f"sum(vllm:num_requests_running{LABELS})"
UNSUMMED = f"vllm:num_requests_running{LABELS}"
OF_ALL = 'sum(vllm:num_requests_running{namespace="inference"})'
NO_COLON = f"sum(vllm_num_requests_running{LABELS})"
FORMULA = "/spec/advanced/scalingModifiers/formula"
BLIND = {"signal": Signal.otel_scaler()}
OF_ALL_BLIND = "sum(vllm:num_requests_running{namespace=inference})"
COLON_BLIND = "sum(vllm:num_requests_running{deployment=mistral,namespace=inference})"
HELD = QueueScaling(min_replicas=0, activation=Activation.http())
ROUTE = "/spec/timeouts"
ENVIRONMENT = f"{CONTAINER}/env"
ON_DEMAND = {"capacity": Capacity.on_demand()}
