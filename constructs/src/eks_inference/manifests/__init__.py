"""Kubernetes objects as plain data, one pure function for each kind.

Plain data, because cdk8s-plus drops extended resources such as ``nvidia.com/gpu``
without a word, and because a model's seven objects cost one jsii call instead of
twenty.
"""

from typing import Any

Manifest = dict[str, Any]
"""One Kubernetes object."""

NVIDIA_GPU = "nvidia.com/gpu"
"""Extended resource and taint of GPU nodes, as the NVIDIA device plugin names it."""

POOL_LABEL = "eks-inference/pool"
"""Node label that a pool sets and that its models select."""

APP_NAME = "app.kubernetes.io/name"
APP_INSTANCE = "app.kubernetes.io/instance"

SERVING_APP = "vllm"
"""Value of the name label on every pod that serves a model."""

ENDPOINT_LABEL = "eks-inference/endpoint"
"""Pod label by which several models share one Service."""

DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"
"""Annotation of a pod whose node Karpenter must not remove of its own will."""

VLLM_USER = 2000
"""User that vLLM's images prepare for running without root (group 0)."""
