"""Constructs for LLM inference on EKS: GPU pools, and models that scale on their queue.

Names load on first use, so that importing plain Python parts does not start CDK.
"""

from typing import TYPE_CHECKING

import lazy_loader  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from eks_inference._check import ConfigurationError
    from eks_inference.accelerator import Accelerator
    from eks_inference.activation import Activation
    from eks_inference.capacity import Capacity
    from eks_inference.compile_cache import CompileCache
    from eks_inference.drain import Drain
    from eks_inference.gpu_inference_pool import GpuInferencePool
    from eks_inference.model import Model
    from eks_inference.pod_identity_role import PodIdentityRole
    from eks_inference.queue_scaled_model import QueueScaledModel
    from eks_inference.scaling import QueueScaling
    from eks_inference.signal import Signal

__all__ = [
    "Accelerator",
    "Activation",
    "Capacity",
    "CompileCache",
    "ConfigurationError",
    "Drain",
    "GpuInferencePool",
    "Model",
    "PodIdentityRole",
    "QueueScaledModel",
    "QueueScaling",
    "Signal",
]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "_check": ["ConfigurationError"],
        "accelerator": ["Accelerator"],
        "activation": ["Activation"],
        "capacity": ["Capacity"],
        "compile_cache": ["CompileCache"],
        "drain": ["Drain"],
        "gpu_inference_pool": ["GpuInferencePool"],
        "model": ["Model"],
        "pod_identity_role": ["PodIdentityRole"],
        "queue_scaled_model": ["QueueScaledModel"],
        "scaling": ["QueueScaling"],
        "signal": ["Signal"],
    },
)
