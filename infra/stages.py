"""The stages and their values: the one place to add a model or a pool."""

from dataclasses import replace

from eks_inference._check import ConfigurationError
from eks_inference.inference_endpoints import INTERFACE_SERVICES
from infra.settings import (
    ModelSettings,
    NetworkSettings,
    PoolSettings,
    Settings,
    SystemNodes,
)
from infra.validation import validate

DEFAULT_STAGE = "dev"

_GPU_24 = PoolSettings(name="gpu-24", accelerators=("a10g", "l4"), max_gpus=11)
"""One A10G or L4 per node, which both have 22.4 GiB: the guide's choice less the T4,
which has no bfloat16 and only the slowest attention kernels. One GPU more than the ten
replicas, so that a new version can replace them one by one at full load."""

_MISTRAL_7B = ModelSettings(
    name="mistral-7b",
    pool=_GPU_24.name,
    prefix="models/mistral-7b-instruct-awq/",
    checkpoint="mistral-7b-awq",
    max_model_len=8192,
    min_replicas=1,
    max_replicas=10,
)
"""Mistral-7B-Instruct in AWQ, 4 bits: 4.15 GB of weights. A GPU of the pool has room
for 15 sequences of 8192 tokens, or for 32 of usual length and more."""

_QWEN_7B = ModelSettings(
    name="qwen-7b",
    pool=_GPU_24.name,
    prefix="models/qwen2.5-7b-instruct-awq/",
    checkpoint="qwen2.5-7b-awq",
    hugging_face=(
        "Qwen/Qwen2.5-7B-Instruct-AWQ@b25037543e9394b818fdfca67ab2a00ecc7dd641"
    ),
    max_model_len=8192,
    min_replicas=1,
    max_replicas=10,
)
"""Qwen2.5-7B-Instruct in its publisher's own AWQ, which needs neither an account of the
Hub nor an upload: 5.57 GB of weights."""

_DEV = Settings(
    stage="dev",
    retain=False,
    network=NetworkSettings(nat_gateways=1, interface_endpoints=("ecr.api", "ecr.dkr")),
    pools=(_GPU_24,),
    models=(_MISTRAL_7B,),
)

STAGES = {
    stage.stage: stage
    for stage in (
        _DEV,
        # the same with a model that brings its weights: one deployment, and it answers
        replace(_DEV, stage="trial", models=(_QWEN_7B,)),
        Settings(
            stage="prod",
            network=NetworkSettings(
                cidr="10.1.0.0/16",
                nat_gateways=3,
                interface_endpoints=INTERFACE_SERVICES,
            ),
            system_nodes=SystemNodes(instance_type="m6i.xlarge", count=3),
            pools=(_GPU_24,),
            models=(_MISTRAL_7B,),
        ),
    )
}
"""The stages by name."""


def load(
    stage: str = DEFAULT_STAGE,
    *,
    account: str | None = None,
    region: str | None = None,
) -> Settings:
    """Return the validated settings of a stage.

    Args:
        stage: Name of the stage. Default: ``dev``.
        account: AWS account, instead of the stage's own.
        region: AWS region, instead of the stage's own.

    Raises:
        ConfigurationError: The stage does not exist or has problems; all are named.
    """
    if not isinstance(stage, str) or stage not in STAGES:
        known = ", ".join(map(repr, STAGES))
        raise ConfigurationError(
            [f"'stage' must be one of {known}, got {stage!r}; see infra/stages.py"]
        )
    return validate(STAGES[stage].at(account=account, region=region))
