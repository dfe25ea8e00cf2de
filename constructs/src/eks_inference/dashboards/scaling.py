"""Scaling: does each model have the replicas that its queue needs, and if not, why?"""

from eks_inference import metric_names as names
from eks_inference.dashboards.scope import (
    CHOSEN,
    MODEL_VARIABLE,
    NAMESPACE_VARIABLE,
    POOL,
    POOL_VARIABLE,
    Scope,
    of_model,
)
from eks_inference.dashboards.values import Dashboard, Kind, Panel, Query

GPU_OF_KARPENTER = "nvidia.com/gpu"
"""The GPU resource in Karpenter's label ``resource_type``, which only replaces dashes
(kubernetes-sigs/karpenter@020fb1f, pkg/controllers/metrics/node/controller.go)."""

NODE_STEPS = ("Launched", "Registered", "Initialized")
"""Conditions that a node claim reaches one after the other (Karpenter 1.14, concepts,
NodeClaims)."""


def queue_and_replicas(scope: Scope, *, width: int = 24) -> Panel:
    """Return the panel that shows load and replicas on one axis.

    Args:
        scope: The models.
        width: Width in columns. Default: all.
    """
    desired = (
        "max by (namespace, horizontalpodautoscaler) "
        f"({names.HPA_DESIRED}{{{scope.autoscalers}}})"
    )
    ready = (
        "max by (namespace, deployment) "
        f"({names.READY_REPLICAS}{{{scope.deployments}}})"
    )
    return Panel(
        title="Queue and replicas",
        answers=(
            "Do the replicas (right) follow the load (left)? Desired above ready: they "
            "start. Waiting above zero with desired flat: the limit is reached, or "
            "the scaler does not see the queue."
        ),
        queries=(
            Query(f"sum by (job) ({names.RUNNING}{{{scope.series}}})", "{{job}} runs"),
            Query(f"sum by (job) ({names.WAITING}{{{scope.series}}})", "{{job}} waits"),
            Query(of_model(desired), "{{namespace}}/{{model}} desired", right=True),
            Query(ready, "{{namespace}}/{{deployment}} ready", right=True),
        ),
        width=width,
        height=10,
    )


def scaling_dashboard() -> Dashboard:
    """Return the dashboard."""
    return Dashboard(
        uid="eks-inference-scaling",
        title="LLM inference: scaling",
        description="Load against replicas, and what holds replicas back.",
        panels=(
            queue_and_replicas(CHOSEN),
            _scaler_value(),
            _scaler_errors(),
            _conditions(),
            _pending_pods(),
            _node_claims(),
            _pool_gpus(),
        ),
        variables=(NAMESPACE_VARIABLE, MODEL_VARIABLE, POOL_VARIABLE),
    )


def _scaler_value() -> Panel:
    return Panel(
        title="What KEDA reads",
        answers="Which number does each trigger hand to the autoscaler?",
        queries=(
            Query(
                "max by (namespace, scaledObject, metric) "
                f"({names.KEDA_VALUE}{{{CHOSEN.scaled_objects}}})",
                "{{namespace}}/{{scaledObject}} {{metric}}",
            ),
        ),
    )


def _scaler_errors() -> Panel:
    return Panel(
        title="Queries of KEDA that fail",
        answers=(
            "Is the autoscaler blind? While a query fails, the fallback holds the "
            "replicas."
        ),
        queries=(
            Query(
                "sum by (namespace, scaledObject, scaler) (rate("
                f"{names.KEDA_ERRORS}{{{CHOSEN.scaled_objects}}}[$__rate_interval]))",
                "{{namespace}}/{{scaledObject}} {{scaler}}",
            ),
        ),
        unit="reqps",
    )


def _conditions() -> Panel:
    return Panel(
        title="Conditions of the autoscaler",
        answers=(
            "Can the autoscaler act? ScalingActive false: it has no metric. "
            "ScalingLimited true: it stands at its lowest or highest number."
        ),
        queries=(
            Query(
                of_model(
                    "max by (namespace, horizontalpodautoscaler, condition) "
                    f'({names.HPA_CONDITION}{{{CHOSEN.autoscalers},status="true"}})'
                ),
                "{{namespace}}/{{model}} {{condition}}",
            ),
        ),
        kind=Kind.STATES,
        unit="bool",
    )


def _pending_pods() -> Panel:
    return Panel(
        title="Pods that do not run, by reason",
        answers="What do new replicas wait for: a node, the image, or a crash loop?",
        queries=(
            Query(f"sum({names.POD_UNSCHEDULABLE}{{{CHOSEN.pods}}})", "no node yet"),
            Query(
                f"sum by (reason) ({names.POD_WAITING_REASON}{{{CHOSEN.pods}}})",
                "{{reason}}",
            ),
        ),
        stacked=True,
    )


def _node_claims() -> Panel:
    steps = "|".join(NODE_STEPS)
    # Karpenter names a claim after its pool, with one part more
    claims = f'type=~"{steps}",status!="True",name=~"({POOL})-[^-]+"'
    return Panel(
        title="Node claims on their way",
        answers=(
            "Where do new nodes stand? Not launched: no capacity or a limit. Not "
            "registered: the instance boots. Not initialized: its GPUs are not there "
            "yet."
        ),
        queries=(
            Query(
                f"sum by (type) ({names.NODECLAIM_CONDITIONS}{{{claims}}})",
                "not {{type}}",
            ),
        ),
    )


def _pool_gpus() -> Panel:
    gpus = f'nodepool=~"{POOL}",resource_type="{GPU_OF_KARPENTER}"'
    return Panel(
        title="GPUs of the pools, and their limits",
        answers="Is a pool full? At its limit Karpenter launches nothing more.",
        queries=(
            Query(
                f"max by (nodepool) ({names.NODEPOOL_USAGE}{{{gpus}}})", "{{nodepool}}"
            ),
            Query(
                f"max by (nodepool) ({names.NODEPOOL_LIMIT}{{{gpus}}})",
                "{{nodepool}} limit",
            ),
        ),
    )
