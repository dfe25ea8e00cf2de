"""Constructs for LLM inference on EKS: GPU pools, and models that scale on their queue.

Names load on first use, so that importing plain Python parts does not start CDK.
"""

from typing import TYPE_CHECKING

import lazy_loader  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from eks_inference._check import ConfigurationError
    from eks_inference.accelerator import Accelerator
    from eks_inference.activation import Activation
    from eks_inference.architecture import Architecture
    from eks_inference.capacity import Capacity
    from eks_inference.checkpoint import Checkpoint
    from eks_inference.cluster_alarms import ClusterAlarms
    from eks_inference.compile_cache import CompileCache, ICompileCache
    from eks_inference.drain import Drain
    from eks_inference.gpu_inference_pool import GpuInferencePool, IGpuInferencePool
    from eks_inference.guardrails import Guardrails
    from eks_inference.image_cache import ImageCache
    from eks_inference.image_snapshot import ImageSnapshot
    from eks_inference.import_source import BucketSource, HuggingFaceSource
    from eks_inference.inference_endpoints import InferenceEndpoints
    from eks_inference.metric import Aggregate, Metric
    from eks_inference.model import Model
    from eks_inference.model_endpoint import ModelEndpoint
    from eks_inference.model_import import ModelImport
    from eks_inference.model_store import ModelStore
    from eks_inference.node_identity import NodeIdentity
    from eks_inference.objective import LatencyObjective
    from eks_inference.observability import Observability
    from eks_inference.platform_requirements import PlatformRequirements, Requirement
    from eks_inference.pod_identity_role import PodIdentityRole
    from eks_inference.quantization import Quantization
    from eks_inference.queue_scaled_model import QueueScaledModel
    from eks_inference.rules import Severity
    from eks_inference.scaling import QueueScaling
    from eks_inference.scaling_formula import ScalingFormula
    from eks_inference.secret_key import SecretKey
    from eks_inference.signal import Signal

__all__ = [
    "Accelerator",
    "Activation",
    "Aggregate",
    "Architecture",
    "BucketSource",
    "Capacity",
    "Checkpoint",
    "ClusterAlarms",
    "CompileCache",
    "ConfigurationError",
    "Drain",
    "GpuInferencePool",
    "Guardrails",
    "HuggingFaceSource",
    "ICompileCache",
    "IGpuInferencePool",
    "ImageCache",
    "ImageSnapshot",
    "InferenceEndpoints",
    "LatencyObjective",
    "Metric",
    "Model",
    "ModelEndpoint",
    "ModelImport",
    "ModelStore",
    "NodeIdentity",
    "Observability",
    "PlatformRequirements",
    "PodIdentityRole",
    "Quantization",
    "QueueScaledModel",
    "QueueScaling",
    "Requirement",
    "ScalingFormula",
    "SecretKey",
    "Severity",
    "Signal",
]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "_check": ["ConfigurationError"],
        "accelerator": ["Accelerator"],
        "activation": ["Activation"],
        "architecture": ["Architecture"],
        "capacity": ["Capacity"],
        "checkpoint": ["Checkpoint"],
        "cluster_alarms": ["ClusterAlarms"],
        "compile_cache": ["CompileCache", "ICompileCache"],
        "drain": ["Drain"],
        "gpu_inference_pool": ["GpuInferencePool", "IGpuInferencePool"],
        "guardrails": ["Guardrails"],
        "image_cache": ["ImageCache"],
        "image_snapshot": ["ImageSnapshot"],
        "inference_endpoints": ["InferenceEndpoints"],
        "import_source": ["BucketSource", "HuggingFaceSource"],
        "metric": ["Aggregate", "Metric"],
        "model": ["Model"],
        "model_endpoint": ["ModelEndpoint"],
        "model_import": ["ModelImport"],
        "model_store": ["ModelStore"],
        "node_identity": ["NodeIdentity"],
        "objective": ["LatencyObjective"],
        "observability": ["Observability"],
        "platform_requirements": ["PlatformRequirements", "Requirement"],
        "pod_identity_role": ["PodIdentityRole"],
        "quantization": ["Quantization"],
        "queue_scaled_model": ["QueueScaledModel"],
        "rules": ["Severity"],
        "scaling": ["QueueScaling"],
        "scaling_formula": ["ScalingFormula"],
        "secret_key": ["SecretKey"],
        "signal": ["Signal"],
    },
)
