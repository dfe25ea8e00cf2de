"""What follows from a model and its GPUs: plain Python, no CDK, no network."""

from eks_inference.planning.pool import GpuPool, gpus_needed
from eks_inference.planning.serving import ServingPlan, plan_serving

__all__ = ["GpuPool", "ServingPlan", "gpus_needed", "plan_serving"]
