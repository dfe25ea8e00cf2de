"""A pool whose GPUs follow from the models that share it."""

import aws_cdk as cdk

from eks_inference import Accelerator, GpuInferencePool
from eks_inference.planning import CHECKPOINTS
from tests.library.conftest import children, import_cluster, make_model, refusal

SMALL = make_model(
    checkpoint=CHECKPOINTS["llama-3.1-8b"], weights_gb=None, max_model_len=8_192
)


def test_gpus_follow_from_the_models(stack: cdk.Stack) -> None:
    """The pool has the GPUs that its models fit, and the values that are given."""
    pool = GpuInferencePool.for_models(
        stack, "Shared", models=[SMALL], cluster=import_cluster(stack), max_gpus=7
    )
    assert pool.pool.accelerators == (Accelerator.L4, Accelerator.A10G)
    assert (pool.pool.gpus_per_node, pool.pool.max_gpus) == (1, 7)


def test_models_that_fit_nothing_are_refused(stack: cdk.Stack) -> None:
    """A model that fits none of the GPUs is named, and nothing is defined."""
    cluster = import_cluster(stack)
    before = children(stack)
    message = refusal(
        lambda: GpuInferencePool.for_models(
            stack,
            "Shared",
            models=[SMALL],
            cluster=cluster,
            accelerators=[Accelerator.T4],
            gpus_per_node=1,
        )
    )
    assert message.startswith("shared nodes: 'models' must fit")
    assert "'mistral'" in message
    assert children(stack) == before
