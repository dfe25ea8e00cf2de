"""Replay a trace against the configuration that will be deployed.

The autoscalers' exact arithmetic (the HPA, KEDA, Knative's KPA), Karpenter and EC2, a
replica of vLLM step by step, and the runs that join them. Names load on first use.
"""

from typing import TYPE_CHECKING

import lazy_loader  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from eks_inference.simulation.balancer import Balancer, LeastOutstanding, RoundRobin
    from eks_inference.simulation.distributions import LogNormal
    from eks_inference.simulation.ec2 import Node, Shortage
    from eks_inference.simulation.events import Event, EventQueue
    from eks_inference.simulation.generators import (
        bundled,
        burst,
        diurnal,
        profile,
        ramp,
        steady,
        step,
    )
    from eks_inference.simulation.hpa import Pod
    from eks_inference.simulation.hpa_controller import (
        SYNC_PERIOD_SECONDS,
        HorizontalPodAutoscaler,
        Observation,
    )
    from eks_inference.simulation.hpa_spec import (
        Behavior,
        CpuUtilization,
        ExternalMetric,
        PodsMetric,
        Policy,
        ScalingRules,
    )
    from eks_inference.simulation.keda import Keda
    from eks_inference.simulation.keda_spec import (
        Fallback,
        ScaledObject,
        ScalingModifiers,
        Trigger,
    )
    from eks_inference.simulation.kpa import TICK_SECONDS, Kpa, KpaSpec
    from eks_inference.simulation.lengths import CONVERSATIONS, Lengths, Quantiles
    from eks_inference.simulation.nodes import NodePool
    from eks_inference.simulation.pods import Deployment, Sample
    from eks_inference.simulation.policies import (
        ConcurrencyScaling,
        CpuScaling,
        Fixed,
        Foresight,
        KedaScaling,
        ScalingPolicy,
        guide,
        guide_as_written,
        keda_defaults,
    )
    from eks_inference.simulation.replica import Replica
    from eks_inference.simulation.requests import Outcome, Request
    from eks_inference.simulation.results import QueueSample, Result, percentile
    from eks_inference.simulation.run import simulate
    from eks_inference.simulation.scenario import Scenario, read_scaled_object
    from eks_inference.simulation.serving_pod import ServingPod
    from eks_inference.simulation.trace import Trace
    from eks_inference.simulation.trace_files import read_csv, read_mooncake, read_trace

__all__ = [
    "CONVERSATIONS",
    "SYNC_PERIOD_SECONDS",
    "TICK_SECONDS",
    "Balancer",
    "Behavior",
    "ConcurrencyScaling",
    "CpuScaling",
    "CpuUtilization",
    "Deployment",
    "Event",
    "EventQueue",
    "ExternalMetric",
    "Fallback",
    "Fixed",
    "Foresight",
    "HorizontalPodAutoscaler",
    "Keda",
    "KedaScaling",
    "Kpa",
    "KpaSpec",
    "LeastOutstanding",
    "Lengths",
    "LogNormal",
    "Node",
    "NodePool",
    "Observation",
    "Outcome",
    "Pod",
    "PodsMetric",
    "Policy",
    "Quantiles",
    "QueueSample",
    "Replica",
    "Request",
    "Result",
    "RoundRobin",
    "Sample",
    "ScaledObject",
    "ScalingModifiers",
    "ScalingPolicy",
    "ScalingRules",
    "Scenario",
    "ServingPod",
    "Shortage",
    "Trace",
    "Trigger",
    "bundled",
    "burst",
    "diurnal",
    "guide",
    "guide_as_written",
    "keda_defaults",
    "percentile",
    "profile",
    "ramp",
    "read_csv",
    "read_mooncake",
    "read_scaled_object",
    "read_trace",
    "simulate",
    "steady",
    "step",
]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "balancer": ["Balancer", "LeastOutstanding", "RoundRobin"],
        "distributions": ["LogNormal"],
        "ec2": ["Node", "Shortage"],
        "events": ["Event", "EventQueue"],
        "generators": [
            "bundled",
            "burst",
            "diurnal",
            "profile",
            "ramp",
            "steady",
            "step",
        ],
        "hpa": ["Pod"],
        "hpa_controller": [
            "SYNC_PERIOD_SECONDS",
            "HorizontalPodAutoscaler",
            "Observation",
        ],
        "hpa_spec": [
            "Behavior",
            "CpuUtilization",
            "ExternalMetric",
            "PodsMetric",
            "Policy",
            "ScalingRules",
        ],
        "keda": ["Keda"],
        "keda_spec": ["Fallback", "ScaledObject", "ScalingModifiers", "Trigger"],
        "kpa": ["TICK_SECONDS", "Kpa", "KpaSpec"],
        "lengths": ["CONVERSATIONS", "Lengths", "Quantiles"],
        "nodes": ["NodePool"],
        "pods": ["Deployment", "Sample"],
        "policies": [
            "ConcurrencyScaling",
            "CpuScaling",
            "Fixed",
            "Foresight",
            "KedaScaling",
            "ScalingPolicy",
            "guide",
            "guide_as_written",
            "keda_defaults",
        ],
        "replica": ["Replica"],
        "requests": ["Outcome", "Request"],
        "results": ["QueueSample", "Result", "percentile"],
        "run": ["simulate"],
        "scenario": ["Scenario", "read_scaled_object"],
        "serving_pod": ["ServingPod"],
        "trace": ["Trace"],
        "trace_files": ["read_csv", "read_mooncake", "read_trace"],
    },
)
