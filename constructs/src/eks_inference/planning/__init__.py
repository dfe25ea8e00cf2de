"""What follows from a model and its GPUs: plain Python, no CDK, no network.

Names load on first use: most questions need few of the tables.
"""

from typing import TYPE_CHECKING

import lazy_loader  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from eks_inference.planning.catalogue import CHECKPOINTS, checkpoint
    from eks_inference.planning.cold_start_ledger import cold_start
    from eks_inference.planning.cold_start_presets import Saving, savings
    from eks_inference.planning.cold_start_values import (
        ColdStart,
        ColdStartOptions,
        CompileCacheState,
        Phase,
        Snapshotter,
        Storage,
        WeightSource,
    )
    from eks_inference.planning.config_json import read_architecture
    from eks_inference.planning.cost import (
        Cost,
        Load,
        PoolCost,
        TokenCost,
        TrafficCost,
        image_traffic_cost,
        pool_cost,
        token_cost,
    )
    from eks_inference.planning.fit import Fit, sequences
    from eks_inference.planning.hugging_face import read_checkpoint
    from eks_inference.planning.instances import (
        INSTANCE_TYPES,
        PRICES_DATE,
        PRICES_REGION,
        InstanceType,
        Prices,
        instance,
        instances_with,
    )
    from eks_inference.planning.kernels import kernel_problems
    from eks_inference.planning.plan import Plan, make_plan
    from eks_inference.planning.pool import GpuPool, gpus_needed
    from eks_inference.planning.repair import Repair, nearest, options, repairs
    from eks_inference.planning.serving import ServingPlan, plan_serving
    from eks_inference.planning.sharing import SharedNodes, shared_nodes
    from eks_inference.planning.sizing import Sizing, size_replica
    from eks_inference.planning.step_time import GpuSpeed, StepModel
    from eks_inference.planning.throughput import (
        Throughput,
        max_requests_per_second,
        steady_throughput,
    )

__all__ = [
    "CHECKPOINTS",
    "INSTANCE_TYPES",
    "PRICES_DATE",
    "PRICES_REGION",
    "ColdStart",
    "ColdStartOptions",
    "CompileCacheState",
    "Cost",
    "Fit",
    "GpuPool",
    "GpuSpeed",
    "InstanceType",
    "Load",
    "Phase",
    "Plan",
    "PoolCost",
    "Prices",
    "Repair",
    "Saving",
    "ServingPlan",
    "SharedNodes",
    "Sizing",
    "Snapshotter",
    "StepModel",
    "Storage",
    "Throughput",
    "TokenCost",
    "TrafficCost",
    "WeightSource",
    "checkpoint",
    "cold_start",
    "gpus_needed",
    "image_traffic_cost",
    "instance",
    "instances_with",
    "kernel_problems",
    "make_plan",
    "max_requests_per_second",
    "nearest",
    "options",
    "plan_serving",
    "pool_cost",
    "read_architecture",
    "read_checkpoint",
    "repairs",
    "savings",
    "sequences",
    "shared_nodes",
    "size_replica",
    "steady_throughput",
    "token_cost",
]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "catalogue": ["CHECKPOINTS", "checkpoint"],
        "cold_start_ledger": ["cold_start"],
        "cold_start_presets": ["Saving", "savings"],
        "cold_start_values": [
            "ColdStart",
            "ColdStartOptions",
            "CompileCacheState",
            "Phase",
            "Snapshotter",
            "Storage",
            "WeightSource",
        ],
        "config_json": ["read_architecture"],
        "cost": [
            "Cost",
            "Load",
            "PoolCost",
            "TokenCost",
            "TrafficCost",
            "image_traffic_cost",
            "pool_cost",
            "token_cost",
        ],
        "fit": ["Fit", "sequences"],
        "hugging_face": ["read_checkpoint"],
        "instances": [
            "INSTANCE_TYPES",
            "InstanceType",
            "PRICES_DATE",
            "PRICES_REGION",
            "Prices",
            "instance",
            "instances_with",
        ],
        "kernels": ["kernel_problems"],
        "plan": ["Plan", "make_plan"],
        "pool": ["GpuPool", "gpus_needed"],
        "repair": ["Repair", "nearest", "options", "repairs"],
        "serving": ["ServingPlan", "plan_serving"],
        "sharing": ["SharedNodes", "shared_nodes"],
        "sizing": ["Sizing", "size_replica"],
        "step_time": ["GpuSpeed", "StepModel"],
        "throughput": ["Throughput", "max_requests_per_second", "steady_throughput"],
    },
)
