"""The GPU pools and the models, made with the library as any other team would."""

from constructs import Construct

from eks_inference import (
    Accelerator,
    Activation,
    GpuInferencePool,
    Guardrails,
    Model,
    NodeIdentity,
    QueueScaledModel,
    QueueScaling,
    Severity,
)
from eks_inference.planning import CHECKPOINTS
from infra.cluster import ClusterStack
from infra.settings import (
    CAPACITIES,
    ModelSettings,
    PoolSettings,
    Schedule,
    Settings,
)
from infra.stack import PlatformStack, platform_tags
from infra.storage import StorageStack
from infra.versions import SUPPORTED
from k8s.platform import INFERENCE_PRIORITY
from k8s.vllm import INFERENCE_NAMESPACE


class ServingStack(PlatformStack):
    """Pools and models of a stage."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        settings: Settings,
        cluster: ClusterStack,
        storage: StorageStack,
        image: str,
    ) -> None:
        super().__init__(
            scope,
            id,
            settings=settings,
            description="LLM inference: GPU pools and models",
        )
        for switch in settings.guardrails:
            Guardrails.of(self).switch(
                switch.rule, Severity(switch.severity), reason=switch.reason
            )
        pools = Construct(self, "Pools")
        models = self.models_scope = Construct(self, "Models")
        self.prefixes = {model.prefix for model in settings.models}
        self.pools = {
            pool.name: _pool(pools, pool, settings, cluster) for pool in settings.pools
        }
        self.models = {
            model.name: QueueScaledModel(
                models,
                model.name,
                pool=self.pools[model.pool],
                model=_model(model, storage),
                scaling=_scaling(model),
                image=image,
                namespace=INFERENCE_NAMESPACE,
                compile_cache=storage.compile_cache,
                priority_class_name=INFERENCE_PRIORITY,
            )
            for model in settings.models
        }


def _pool(
    scope: Construct, pool: PoolSettings, settings: Settings, cluster: ClusterStack
) -> GpuInferencePool:
    return GpuInferencePool(
        scope,
        pool.name,
        cluster=cluster.cluster,
        nodes=NodeIdentity.from_instance_profile(cluster.node_profile),
        security_group_ids=[cluster.cluster.cluster_security_group_id],
        accelerators=[Accelerator[name.upper()] for name in pool.accelerators],
        gpus_per_node=pool.gpus_per_node,
        capacity=CAPACITIES[pool.capacity],
        max_gpus=pool.max_gpus,
        consolidate_after_seconds=pool.consolidate_after_seconds,
        ami_alias=SUPPORTED[settings.kubernetes_version].ami_alias,
        tags=platform_tags(settings),
    )


def _model(model: ModelSettings, storage: StorageStack) -> Model:
    return Model(
        name=model.name,
        bucket=storage.models,
        prefix=model.prefix,
        checkpoint=CHECKPOINTS[model.checkpoint] if model.checkpoint else None,
        weights_gb=model.weights_gb,
        max_model_len=model.max_model_len,
        max_num_seqs=model.max_num_seqs,
        gpus=model.gpus,
        gpu_memory_utilization=model.gpu_memory_utilization,
        cpu=model.cpu,
        memory_gib=model.memory_gib,
    )


def _scaling(model: ModelSettings) -> QueueScaling:
    return QueueScaling(
        min_replicas=model.min_replicas,
        max_replicas=model.max_replicas,
        waiting_weight=model.waiting_weight,
        target_share=model.target_share,
        activation=_activation(model.schedule),
    )


def _activation(window: Schedule | None) -> Activation | None:
    if window is None:
        return None
    return Activation.schedule(
        timezone=window.timezone,
        start=window.start,
        end=window.end,
        replicas=window.replicas,
    )
