"""Cost: what do the GPU nodes cost, and what comes out of it?

Karpenter knows the price of an hour of each instance type, way of buying and zone;
kube-state-metrics says which nodes there are. Both are joined by the labels of the
nodes, which kube-state-metrics exports only where its ``metricLabelsAllowlist`` names
them (``NODE_LABELS_ALLOWED``). The prices are those that Karpenter decides with: list
prices and current spot prices, without disks, traffic, discounts and taxes.
"""

from eks_inference import metric_names as names
from eks_inference.dashboards.scope import (
    CHOSEN,
    MODEL_VARIABLE,
    NAMESPACE_VARIABLE,
    POOL,
    POOL_VARIABLE,
)
from eks_inference.dashboards.values import Dashboard, Kind, Panel, Query

NODE_LABELS_ALLOWED = (
    "karpenter.sh/nodepool",
    "node.kubernetes.io/instance-type",
    "karpenter.sh/capacity-type",
    "topology.kubernetes.io/zone",
)
"""Node labels that kube-state-metrics must export for this dashboard: in its chart,
``metricLabelsAllowlist: ["nodes=[...]"]`` with these in place of the dots."""

GPU_OF_KUBERNETES = "nvidia_com_gpu"
"""The GPU resource in kube-state-metrics' label ``resource``."""

_POOL, _TYPE, _CAPACITY, _ZONE = (
    "label_" + label.replace(".", "_").replace("/", "_").replace("-", "_")
    for label in NODE_LABELS_ALLOWED
)
_OFFERING = f"{_TYPE}, {_CAPACITY}, {_ZONE}"
_LEGEND = f"{{{{{_TYPE}}}}} {{{{{_CAPACITY}}}}}"


def nodes(pool: str) -> str:
    """Return an expression with the value 1 for each node of the pools.

    Args:
        pool: Regular expression for the names of the pools.
    """
    # the same node once, also while kube-state-metrics is being replaced
    return f'max by (node, {_OFFERING}) ({names.NODE_LABELS}{{{_POOL}=~"{pool}"}})'


def dollars_per_hour(pool: str) -> str:
    """Return an expression for the price of an hour of each node of the pools.

    A node whose price Karpenter does not know is left out.

    Args:
        pool: Regular expression for the names of the pools.
    """
    price = names.OFFERING_PRICE
    renamed = {"instance_type": _TYPE, "capacity_type": _CAPACITY, "zone": _ZONE}
    for karpenters, kubernetes in renamed.items():
        price = f'label_replace({price}, "{kubernetes}", "$1", "{karpenters}", "(.+)")'
    return (
        f"{nodes(pool)} * on ({_OFFERING}) group_left () max by ({_OFFERING}) ({price})"
    )


def node_hours(expression: str) -> str:
    """Return the integral of an expression over the chosen time, in hours.

    A sum over minutes, and not a mean times the length: where there is no node there is
    no value, and a mean would take that for more of the same.

    Args:
        expression: An expression in units of something per hour, or a number of nodes.
    """
    return f"sum_over_time(({expression})[$__range:1m]) / 60"


def cost_dashboard() -> Dashboard:
    """Return the dashboard."""
    return Dashboard(
        uid="eks-inference-cost",
        title="LLM inference: cost",
        description=(
            "GPU nodes, their price, and what a request and a million tokens cost. "
            "Choose pools and models that belong together."
        ),
        panels=(
            _totals(),
            _unit_prices(),
            _hourly(),
            _nodes(),
            _hours_by_type(),
            _idle(),
        ),
        variables=(NAMESPACE_VARIABLE, MODEL_VARIABLE, POOL_VARIABLE),
        hours=24,
    )


def _totals() -> Panel:
    hourly = f"sum({dollars_per_hour(POOL)})"
    return Panel(
        title="Dollars",
        answers="What does an hour cost now, and what did the chosen time cost?",
        queries=(
            Query(hourly, "per hour, now"),
            Query(node_hours(hourly), "in the chosen time"),
        ),
        kind=Kind.NUMBERS,
        unit="currencyUSD",
        height=5,
    )


def _unit_prices() -> Panel:
    spent = f"({node_hours(f'sum({dollars_per_hour(POOL)})')})"
    requests, prompt, generated = (
        f"sum(increase({metric}{{{CHOSEN.series}}}[$__range]))"
        for metric in (names.FINISHED, names.PROMPT_TOKENS, names.GENERATION_TOKENS)
    )
    return Panel(
        title="Dollars for what came out",
        answers=(
            "What did a request and a million tokens cost? All hours of the nodes "
            "count, also those of starts and of idle replicas."
        ),
        queries=(
            Query(f"{spent} / {requests}", "per request"),
            Query(
                f"{spent} / ({prompt} + {generated}) * 1e6",
                "per million tokens, prompt and generated",
            ),
            Query(f"{spent} / {generated} * 1e6", "per million generated tokens"),
        ),
        kind=Kind.NUMBERS,
        unit="currencyUSD",
        height=5,
    )


def _hourly() -> Panel:
    return Panel(
        title="Dollars per hour",
        answers="What do the nodes cost, and how much of it is spot capacity?",
        queries=(
            Query(
                f"sum by ({_CAPACITY}) ({dollars_per_hour(POOL)})",
                f"{{{{{_CAPACITY}}}}}",
            ),
        ),
        unit="currencyUSD",
        stacked=True,
    )


def _nodes() -> Panel:
    return Panel(
        title="Nodes by instance type",
        answers="What runs now, and how was it bought?",
        queries=(Query(f"count by ({_TYPE}, {_CAPACITY}) ({nodes(POOL)})", _LEGEND),),
        stacked=True,
    )


def _hours_by_type() -> Panel:
    gpus = (
        f"{nodes(POOL)} * on (node) group_left () max by (node) "
        f'({names.NODE_ALLOCATABLE}{{resource="{GPU_OF_KUBERNETES}"}})'
    )
    return Panel(
        title="GPU hours in the chosen time",
        answers="Which instance types were used, how were they bought, how long?",
        queries=(
            Query(node_hours(f"sum by ({_TYPE}, {_CAPACITY}) ({gpus})"), _LEGEND),
        ),
        kind=Kind.BARS,
        unit="h",
    )


def _idle() -> Panel:
    on_pool = f"on (node) group_left () max by (node) ({nodes(POOL)})"
    gpu = f'resource="{GPU_OF_KUBERNETES}"'
    # a pod that has ended keeps its requests in kube-state-metrics, but no GPU
    held = (
        f'({names.POD_REQUESTS}{{{gpu},node!=""}} and on (namespace, pod) '
        f'{names.POD_PHASE}{{phase=~"Pending|Running"}} == 1)'
    )
    return Panel(
        title="Idle share",
        answers=(
            "What is paid for and not used? GPUs that no pod holds: nodes that come or "
            "go. Replicas without a request: more than the load needs."
        ),
        queries=(
            Query(
                f"1 - sum({held} * {on_pool}) / "
                f"sum({names.NODE_ALLOCATABLE}{{{gpu}}} * {on_pool})",
                "GPUs that no pod holds",
            ),
            Query(
                f"avg({names.RUNNING}{{{CHOSEN.series}}} == bool 0)",
                "replicas without a request",
            ),
            Query(
                f"1 - avg({names.GPU_UTILIZATION}) / 100",
                "GPU time without a kernel (DCGM, whole cluster)",
            ),
        ),
        unit="percentunit",
    )
