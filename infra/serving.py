"""The GPU pools and the models, made with the library as any other team would."""

from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from eks_inference import (
    Accelerator,
    Activation,
    GpuInferencePool,
    Guardrails,
    HuggingFaceSource,
    ImageSnapshot,
    Model,
    ModelImport,
    NodeIdentity,
    Observability,
    QueueScaledModel,
    QueueScaling,
    SecretKey,
    Severity,
)
from eks_inference.node_drain import node_drain_log
from eks_inference.planning import CHECKPOINTS
from infra.cluster import ClusterStack
from infra.settings import (
    CAPACITIES,
    SIGNALS,
    ModelSettings,
    PoolSettings,
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
        keda_role: iam.IRole,
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
        jobs = Construct(self, "Jobs")
        imports = self.imports_scope = Construct(self, "Imports")
        weights = {
            model.name: _weights(imports, model, cluster, storage, image)
            for model in settings.models
            if model.hugging_face
        }
        self.imported_prefixes = {made.prefix for made in weights.values()}
        self.prefixes = self.imported_prefixes | {
            model.prefix for model in settings.models if model.name not in weights
        }
        self.pools = {
            pool.name: _pool(pools, pool, settings, cluster) for pool in settings.pools
        }
        self.models = {
            model.name: QueueScaledModel(
                models,
                model.name,
                pool=self.pools[model.pool],
                model=_model(model, storage, weights.get(model.name)),
                weights=weights.get(model.name),
                scaling=_scaling(model, _activations(jobs, model)),
                signal=SIGNALS[settings.signal],
                # the dashboards of the cluster show every model
                observability=Observability(dashboard=False),
                image=image,
                namespace=INFERENCE_NAMESPACE,
                compile_cache=storage.compile_cache,
                priority_class_name=INFERENCE_PRIORITY,
                api_key=(
                    SecretKey(model.api_key_secret) if model.api_key_secret else None
                ),
            )
            for model in settings.models
        }
        for made in self.models.values():
            made.grant_scaling(keda_role)
        node_drain_log(self).apply_removal_policy(self.removal_policy)


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
        headroom_nodes=pool.headroom_nodes,
        image_snapshot=(
            ImageSnapshot(snapshot_id=pool.image_snapshot)
            if pool.image_snapshot
            else None
        ),
        headroom_namespace=INFERENCE_NAMESPACE,
        ami_alias=SUPPORTED[settings.kubernetes_version].ami_alias,
        tags=platform_tags(settings),
    )


def _weights(
    scope: Construct,
    model: ModelSettings,
    cluster: ClusterStack,
    storage: StorageStack,
    image: str,
) -> ModelImport:
    repository, _, commit = model.hugging_face.partition("@")
    secret = model.hugging_face_secret
    return ModelImport(
        scope,
        model.name,
        cluster=cluster.cluster,
        bucket=storage.models,
        prefix=model.prefix,
        source=HuggingFaceSource(
            repo=repository,
            revision=commit,
            token=SecretKey(secret, "token") if secret else None,
        ),
        image=image,
        namespace=INFERENCE_NAMESPACE,
    )


def _model(
    model: ModelSettings, storage: StorageStack, weights: ModelImport | None
) -> Model:
    return Model(
        name=model.name,
        bucket=storage.models,
        prefix=weights.prefix if weights else model.prefix,
        served_name=model.served_name or None,
        checkpoint=CHECKPOINTS[model.checkpoint] if model.checkpoint else None,
        weights_gb=model.weights_gb,
        max_model_len=model.max_model_len,
        max_num_seqs=model.max_num_seqs,
        gpus=model.gpus,
        gpu_memory_utilization=model.gpu_memory_utilization,
        cpu=model.cpu,
        memory_gib=model.memory_gib,
    )


def _scaling(model: ModelSettings, activations: list[Activation]) -> QueueScaling:
    return QueueScaling(
        min_replicas=model.min_replicas,
        max_replicas=model.max_replicas,
        waiting_weight=model.waiting_weight,
        target_share=model.target_share,
        activation=activations,
    )


def _activations(scope: Construct, model: ModelSettings) -> list[Activation]:
    found: list[Activation] = []
    window = model.schedule
    if window is not None:
        found.append(
            Activation.schedule(
                timezone=window.timezone,
                start=window.start,
                end=window.end,
                replicas=window.replicas,
            )
        )
    if model.on_request:
        found.append(Activation.http(hold=model.on_request == "hold"))
    if model.jobs_queue_arn:
        jobs = sqs.Queue.from_queue_arn(
            scope, f"{model.name}-jobs", model.jobs_queue_arn
        )
        found.append(Activation.queue(jobs))
    if model.gateway_query:
        found.append(Activation.gateway(model.gateway_query))
    return found
