"""A stage without a problem, and the stages that depart from it in one value."""

from dataclasses import replace
from typing import Any

from infra.settings import (
    GuardrailSwitch,
    ImageSettings,
    ModelSettings,
    NetworkSettings,
    PoolSettings,
    Schedule,
    Settings,
    SystemNodes,
)

OFFICE = "8.8.4.0/24"
"""A public network. Those of documentation count as private."""

POOL = PoolSettings(name="gpu-24", accelerators=("a10g", "l4"), max_gpus=10)
MODEL = ModelSettings(
    name="chat",
    pool="gpu-24",
    prefix="models/chat/",
    weights_gb=4.15,
    max_model_len=8192,
)
GOOD = Settings(stage="good", pools=(POOL,), models=(MODEL,))
SWITCH = GuardrailSwitch(
    rule="eks_inference:spotGrace", severity="warning", reason="batch only"
)
WINDOW = Schedule(timezone="Europe/Berlin", start="0 8 * * 1-5", end="0 18 * * 1-5")

GPUS = (
    "'t4', 't4g', 'a10g', 'l4', 'l40s', 'rtx_pro_4500', 'rtx_pro_6000', 'a100_40g', "
    "'a100_80g', 'h100', 'h200', 'b200', 'b300'"
)
SERVICES = (
    "'ecr.api', 'ecr.dkr', 'sts', 'ec2', 'eks', 'eks-auth', 'sqs', 'ssm', 'logs', "
    "'elasticfilesystem'"
)
LABEL = "(a-z, 0-9 and '-', starting with a letter)"
ADMIN = "'arn:aws:iam::111122223333:role/Admin'"
PREFIX_RULE = (
    "'prefix' must be a key prefix: names of letters, digits and '._=+@-', with a '/' "
    "behind each"
)
PREFIX_REPAIR = "for example 'models/mistral-7b-awq/'"
FEW_ZONES = "the images of the controllers come through NAT"
AWAKE = "an empty node must outlive a cold start"
ACCOUNT_RULE = "'account' must be an AWS account id (a text of 12 digits)"
ADMIN_RULE = "'admin_role_arns' must be the ARNs of IAM roles or users"
CIDR_RULE = "network: 'cidr' must be a network such as '10.0.0.0/16'"
PRIVATE_RULE = "network: 'cidr' must be a private network (RFC 1918)"
PRIVATE_REPAIR = "use for example '10.0.0.0/16'"
PUBLIC_RULE = "'public_access_cidrs' must be public networks"
PUBLIC_REPAIR = "private ones reach the API by its private endpoint"
SYSTEM_RULE = (
    "system_nodes: 'instance_type' must be an EC2 instance type with an x86-64 "
    "processor"
)
SYSTEM_REPAIR = "for example 'm6i.large'"
CONTROLLERS = "Karpenter's two replicas never share a node"
CRON_RULE = "must be a cron expression with five fields"
CRON_REPAIR = "for example '0 8 * * 1-5'"
LIST_RULE = "must be a list or tuple"
LIST_REPAIR = "put it in brackets"


def stage(**changes: Any) -> Settings:
    """Return the good stage with other values."""
    return replace(GOOD, **changes)


def network(**changes: Any) -> Settings:
    """Return the good stage with another network."""
    return stage(network=NetworkSettings(**changes))


def image(**changes: Any) -> Settings:
    """Return the good stage with another image."""
    return stage(image=ImageSettings(**changes))


def nodes(**changes: Any) -> Settings:
    """Return the good stage with other system nodes."""
    return stage(system_nodes=SystemNodes(**changes))


def pool(**changes: Any) -> Settings:
    """Return the good stage with another pool, on which its model still runs."""
    changed = replace(POOL, **changes)
    return stage(pools=(changed,), models=(replace(MODEL, pool=changed.name),))


def model(**changes: Any) -> Settings:
    """Return the good stage with another model."""
    return stage(models=(replace(MODEL, **changes),))


def window(**changes: Any) -> Settings:
    """Return the good stage with a model that only a bad schedule wakes."""
    return model(min_replicas=0, schedule=replace(WINDOW, **changes))


def switched(**changes: Any) -> Settings:
    """Return the good stage with a guardrail that it judges otherwise."""
    return stage(guardrails=(replace(SWITCH, **changes),))


def two_models(**changes: Any) -> Settings:
    """Return the good stage with a second model."""
    return stage(models=(replace(MODEL, max_replicas=5), replace(MODEL, **changes)))


def whole_nodes(*models: ModelSettings) -> Settings:
    """Return the good stage with models on three nodes of four GPUs."""
    four = replace(POOL, accelerators=("l4",), gpus_per_node=4, max_gpus=12)
    return stage(pools=(four,), models=models)
