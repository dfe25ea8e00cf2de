"""What follows from a model and its GPUs: plain Python, no CDK, no network."""

from eks_inference.planning.pool import GpuPool
from eks_inference.planning.serving import ServingPlan, plan_serving

__all__ = ["GpuPool", "ServingPlan", "plan_serving"]
