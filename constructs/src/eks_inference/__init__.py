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
    from eks_inference.compile_cache import CompileCache, ICompileCache
    from eks_inference.drain import Drain
    from eks_inference.gpu_inference_pool import GpuInferencePool, IGpuInferencePool
    from eks_inference.guardrails import Guardrails
    from eks_inference.image_cache import ImageCache
    from eks_inference.inference_endpoints import InferenceEndpoints
    from eks_inference.model import Model
    from eks_inference.model_store import ModelStore
    from eks_inference.node_identity import NodeIdentity
    from eks_inference.platform_requirements import PlatformRequirements, Requirement
    from eks_inference.pod_identity_role import PodIdentityRole
    from eks_inference.quantization import Quantization
    from eks_inference.queue_scaled_model import QueueScaledModel
    from eks_inference.rules import Severity
    from eks_inference.scaling import QueueScaling
    from eks_inference.signal import Signal

__all__ = [
    "Accelerator",
    "Activation",
    "Architecture",
    "Capacity",
    "Checkpoint",
    "CompileCache",
    "ConfigurationError",
    "Drain",
    "GpuInferencePool",
    "Guardrails",
    "ICompileCache",
    "IGpuInferencePool",
    "ImageCache",
    "InferenceEndpoints",
    "Model",
    "ModelStore",
    "NodeIdentity",
    "PlatformRequirements",
    "PodIdentityRole",
    "Quantization",
    "QueueScaledModel",
    "QueueScaling",
    "Requirement",
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
        "compile_cache": ["CompileCache", "ICompileCache"],
        "drain": ["Drain"],
        "gpu_inference_pool": ["GpuInferencePool", "IGpuInferencePool"],
        "guardrails": ["Guardrails"],
        "image_cache": ["ImageCache"],
        "inference_endpoints": ["InferenceEndpoints"],
        "model": ["Model"],
        "model_store": ["ModelStore"],
        "node_identity": ["NodeIdentity"],
        "platform_requirements": ["PlatformRequirements", "Requirement"],
        "pod_identity_role": ["PodIdentityRole"],
        "quantization": ["Quantization"],
        "queue_scaled_model": ["QueueScaledModel"],
        "rules": ["Severity"],
        "scaling": ["QueueScaling"],
        "signal": ["Signal"],
    },
)
