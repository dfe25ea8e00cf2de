"""What the commands say, as plain data: tables, pages and JSON show the same."""

from typing import Any

from eks_inference.planning.cold_start_presets import Saving
from eks_inference.planning.cold_start_values import ColdStart
from eks_inference.planning.cost import PoolPrice, TokenPrice
from eks_inference.planning.fit import GIB, Fit
from eks_inference.planning.instances import (
    PRICES_DATE,
    PRICES_REGION,
    InstanceType,
    Prices,
)
from eks_inference.planning.plan import Plan
from eks_inference.planning.repair import Repair, repairs
from eks_inference.planning.sizing import TYPICAL_TOKENS

Document = dict[str, Any]
"""Plain data, as JSON has it."""

COST_NAMES = {
    "per_gpu_hour": "GPU hour",
    "at_rest_per_hour": "hour at min replicas",
    "at_peak_per_hour": "hour at max replicas",
    "at_the_load_per_hour": "hour at the load",
    "per_million_output_tokens": "million output tokens",
    "per_million_total_tokens": "million tokens in and out",
}
"""What each cost is called where people read it."""

TRAFFIC_NAMES = {
    "nat_gateway": "NAT gateway",
    "interface_endpoint": "interface endpoint",
    "gateway_endpoint": "gateway endpoint",
}
"""The ways of image and weights to a node, as AWS calls them."""

PRICES = f"on demand, {PRICES_REGION}, {PRICES_DATE}"
"""What the prices of the table are."""


def instance_document(item: InstanceType, prices: Prices) -> Document:
    """Return an instance type.

    Args:
        item: The instance type.
        prices: What it costs.
    """
    return {
        "instance": item.name,
        "gpu": item.accelerator.name.lower(),
        "gpus": item.gpus,
        "gpu_memory_mib": item.accelerator.memory_mib,
        "cuda_memory_mib": item.accelerator.cuda_memory_mib,
        "compute_capability": ".".join(map(str, item.accelerator.compute_capability)),
        "architecture": item.accelerator.architecture,
        "vcpus": item.vcpus,
        "memory_mib": item.memory_mib,
        "allocatable_cpu": item.allocatable_cpu,
        "allocatable_memory_mib": item.allocatable_memory_mib,
        "network_mbps": item.network_mbps,
        "network_burst_mbps": item.network_burst_mbps,
        "ebs_mbps": item.ebs_mbps,
        "nvme_gb": item.nvme_gb,
        "usd_per_hour": prices.on_demand(item),
        "spot_usd_per_hour": prices.spot(item),
    }


def pool_rows(plan: Document) -> list[tuple[str, str]]:
    """Return what a pool is made of, as names and texts for people.

    Args:
        plan: The plan as plain data.
    """
    pool = plan["pool"]
    return [
        ("GPUs", ", ".join(pool["gpus"])),
        ("GPUs of a node", str(pool["gpus_per_node"])),
        ("most GPUs", str(pool["max_gpus"])),
        ("instances that Karpenter prefers", ", ".join(pool["instances"])),
        ("data volume", f"{pool['data_volume_gib']} GiB"),
    ]


def replica_rows(plan: Document) -> list[tuple[str, str]]:
    """Return what a replica is started with, as names and texts for people.

    Args:
        plan: The plan as plain data.
    """
    replica = plan["replica"]
    return [
        ("replicas", f"{replica['min_replicas']} to {replica['max_replicas']}"),
        ("GPUs, --tensor-parallel-size", str(replica["gpus"])),
        ("CPUs and memory", f"{replica['cpu']}, {replica['memory_gib']} GiB"),
        ("--max-model-len", f"{replica['max_model_len']} tokens"),
        ("--max-num-seqs", f"{replica['max_num_seqs']} sequences"),
        ("--gpu-memory-utilization", str(replica["gpu_memory_utilization"])),
        ("--dtype", replica["dtype"]),
        ("streamer's concurrency", str(replica["streamer_concurrency"])),
        ("start-up probe's budget", f"{replica['startup_budget_seconds']} s"),
        ("scaling target", f"{replica['scaling_target']} requests per replica"),
    ]


def load_text(cost: Document) -> str:
    """Return the load that tokens are priced at, and what prices these are.

    Args:
        cost: The cost of a plan as plain data.
    """
    load = cost["load"]
    return (
        f"Load: {load['requests_per_second']:g} requests per second of "
        f"{load['prompt_tokens']:g} prompt + {load['answer_tokens']:g} answer tokens; "
        f"{cost['replicas_text']}. Prices: {cost['prices']}."
    )


def fit_document(fit: Fit, prices: Prices) -> Document:
    """Return whether a model fits, with every term, and what would make it fit.

    Args:
        fit: The model on an instance type.
        prices: What the instance type costs.
    """
    return {
        "model": fit.checkpoint.name,
        "instance": fit.instance.name,
        "gpu": fit.instance.accelerator.name.lower(),
        "gpus": fit.tensor_parallel,
        "fits": fit.fits,
        "problems": list(fit.problems),
        "repairs": [_repair_document(item) for item in repairs(fit)],
        "gib_per_gpu": {
            "total": fit.total_bytes / GIB,
            "usable": fit.usable_bytes / GIB,
            "weights": fit.weight_bytes / GIB,
            "overhead": fit.overhead_bytes / GIB,
            "kv_cache": fit.kv_available_bytes / GIB,
        },
        "max_model_len": fit.context,
        "kv_bytes_per_token": fit.kv_bytes_per_token,
        "kv_tokens": fit.kv_tokens,
        "longest_sequences_at_once": fit.concurrency,
        "typical_tokens": min(TYPICAL_TOKENS, fit.context),
        "typical_sequences_at_once": _typical_sequences(fit),
        "pod_gib": fit.pod_gib,
        "streamer_gib": fit.streamer_bytes / GIB,
        "disk_gb": fit.disk_bytes / 1e9,
        "usd_per_hour": prices.on_demand(fit.instance),
    }


def _typical_sequences(fit: Fit) -> int:
    # what the KV cache has room for, whatever is allowed to run
    room = max(0.0, fit.kv_available_bytes)
    return int(room / fit.kv_bytes(min(TYPICAL_TOKENS, fit.context)))


def _repair_document(repair: Repair) -> Document:
    return {
        "change": repair.text,
        "instance": repair.fit.instance.name,
        "gpus": repair.fit.tensor_parallel,
        "max_model_len": repair.fit.context,
        "quantization": repair.fit.checkpoint.quantization.label,
        "extra_usd_per_hour": repair.extra_usd_per_hour,
    }


def cold_start_document(start: ColdStart, savings: tuple[Saving, ...]) -> Document:
    """Return the ledger of a cold start.

    Args:
        start: The ledger.
        savings: What each option buys of it.
    """
    return {
        "phases": [
            {
                "phase": phase.name,
                "p50_seconds": phase.p50,
                "p90_seconds": phase.p90,
                "bound_by": phase.bound_by,
                "source": phase.source,
                "note": phase.note,
            }
            for phase in start.phases
        ],
        "p50_seconds": start.p50,
        "p90_seconds": start.p90,
        "savings": [
            {
                "option": saving.option,
                "p50_seconds": saving.p50,
                "p90_seconds": saving.p90,
            }
            for saving in savings
        ],
    }


def plan_document(plan: Plan, prices: Prices) -> Document:
    """Return a plan.

    Args:
        plan: The plan.
        prices: What instances cost.
    """
    sizing, serving, pool = plan.serving.sizing, plan.serving, plan.pool
    checkpoint = plan.fit.checkpoint
    return {
        "model": {
            "name": checkpoint.name,
            "architecture": checkpoint.architecture.name,
            "parameters": checkpoint.architecture.parameters,
            "quantization": checkpoint.quantization.label,
            "weight_bytes": checkpoint.weight_bytes,
            "context": checkpoint.architecture.context,
            "source": checkpoint.source,
        },
        "fits": not plan.problems,
        "problems": list(plan.problems),
        "notes": list(plan.notes),
        "pool": {
            "gpus": [item.gpu_name for item in pool.accelerators],
            "gpu_memory_mib": sorted({item.memory_mib for item in pool.accelerators}),
            "gpus_per_node": pool.gpus_per_node,
            "architecture": pool.architecture,
            "max_gpus": pool.max_gpus,
            "instances": [item.name for item in sizing.instances],
            "least_memory_gib": sizing.memory_gib,
            "data_volume_gib": pool.data_volume_gib,
        },
        "replica": {
            "min_replicas": plan.scaling.min_replicas,
            "max_replicas": plan.scaling.max_replicas,
            "gpus": sizing.gpus,
            "cpu": sizing.cpu,
            "memory_gib": sizing.memory_gib,
            "tensor_parallel_size": sizing.gpus,
            "max_model_len": sizing.max_model_len,
            "max_num_seqs": sizing.max_num_seqs,
            "gpu_memory_utilization": plan.model.gpu_memory_utilization,
            "dtype": serving.dtype or "auto",
            "streamer_concurrency": serving.streamer_concurrency,
            "streamer_memory_bytes": serving.streamer_memory_bytes,
            "startup_budget_seconds": serving.startup_budget_seconds,
            "scaling_target": serving.scaling_target,
        },
        "fit": [fit_document(fit, prices) for fit in sizing.fits],
        "cold_start": {
            "instance": plan.fit.instance.name,
            **cold_start_document(plan.cold_start, plan.savings),
        },
        "cost": _cost_document(plan),
    }


def _cost_document(plan: Plan) -> Document:
    tokens = plan.token_cost
    return {
        "instance": plan.fit.instance.name,
        "prices": PRICES,
        "load": {
            "requests_per_second": plan.load.requests_per_second,
            "prompt_tokens": plan.load.prompt_tokens,
            "answer_tokens": plan.load.answer_tokens,
        },
        "replicas_for_the_load": tokens.replicas,
        "replicas_text": tokens.replicas_text,
        "on_demand": _prices(plan.pool_cost.on_demand, tokens.on_demand),
        "spot": (
            _prices(plan.pool_cost.spot, tokens.spot)
            if plan.pool_cost.spot and tokens.spot
            else None
        ),
        "traffic_per_month": {
            "nat_gateway": _amount(plan.traffic.nat_gateway),
            "interface_endpoint": _amount(plan.traffic.interface_endpoint),
            "gateway_endpoint": _amount(plan.traffic.gateway_endpoint),
        },
    }


def _prices(pool: PoolPrice, tokens: TokenPrice) -> Document:
    return {
        "per_gpu_hour": _amount(pool.per_gpu_hour),
        "at_rest_per_hour": _amount(pool.at_rest),
        "at_peak_per_hour": _amount(pool.at_peak),
        "at_the_load_per_hour": _amount(tokens.per_hour),
        "per_million_output_tokens": _amount(tokens.per_million_output_tokens),
        "per_million_total_tokens": _amount(tokens.per_million_total_tokens),
    }


def _amount(cost: Any) -> Document:
    return {"usd": cost.usd, "arithmetic": cost.text}
