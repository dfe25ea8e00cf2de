"""What can be set for a stage.

The values are in ``stages.py``, the rules that they must keep in ``validation.py``.
"""

from dataclasses import dataclass, field, replace

from eks_inference.account.ownership import PLATFORM_CLUSTER
from eks_inference.capacity import Capacity
from eks_inference.signal import Signal

CAPACITIES = {
    "on-demand": Capacity.on_demand(),
    "spot": Capacity.spot(),
    "spot-with-fallback": Capacity.spot_with_fallback(),
}
"""How a pool can buy its instances, by the name that settings use."""

SIGNALS = {
    "prometheus": Signal.prometheus(),
    "otel-scaler": Signal.otel_scaler(),
}
"""Where KEDA can read the queue, by the name that settings use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a model that can go to zero is kept warm.

    Args:
        timezone: IANA name of the time zone.
        start: Begin of the window, as cron expression with five fields.
        end: End of the window, likewise.
        replicas: Replicas in the window. Default: 1.
    """

    timezone: str
    start: str
    end: str
    replicas: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """A pool of GPU nodes.

    Args:
        name: Name of the NodePool.
        accelerators: GPUs that it may use, such as ``a10g``.
        gpus_per_node: GPUs of a node. Default: 1.
        capacity: ``on-demand``, ``spot`` or ``spot-with-fallback``.
            Default: spot, and on-demand where there is no spot.
        max_gpus: Most GPUs of the pool; bounds what it can cost.
        consolidate_after_seconds: How long an empty node is kept. Default: 600.
        headroom_nodes: Nodes that are kept warm for the next replicas, at the price of
            nodes that serve nobody. Default: 0.
        image_snapshot: Id of the EBS snapshot with vLLM's image that nodes start from,
            as ``make image-snapshot`` prints it. Default: none; nodes pull the image.
    """

    name: str
    accelerators: tuple[str, ...]
    gpus_per_node: int = 1
    capacity: str = "spot-with-fallback"
    max_gpus: int = 10
    consolidate_after_seconds: int = 600
    headroom_nodes: int = 0
    image_snapshot: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """A model that is served. ``eks_inference.Model`` explains the values.

    Args:
        name: Name that clients send, and name of its Kubernetes objects.
        pool: Name of the pool that it runs on.
        prefix: Key prefix of its weights in the model bucket, with trailing slash.
        checkpoint: What the weights are the weights of, by its name in the planner's
            catalogue (``mistral-7b-awq``); a model that does not fit its pool is then
            refused. Default: not known.
        weights_gb: Size of its safetensors in decimal gigabytes. Default: the
            checkpoint's.
        max_model_len: Longest sequence in tokens. Default: what the checkpoint was
            made for, or as much of it as the GPUs of the pool have room for.
        max_num_seqs: Sequences that a replica processes at once. Default: 32.
        gpus: GPUs of a replica. Default: 1.
        gpu_memory_utilization: Share of GPU memory that vLLM claims. Default: 0.9.
        cpu: CPUs that a replica requests. Default: 3.
        memory_gib: Memory of a replica in GiB. Default: 12.
        min_replicas: Fewest replicas; zero needs a ``schedule``, ``on_request``, a
            ``jobs_queue_arn`` or a ``gateway_query``. Default: 1.
        max_replicas: Most replicas. Default: 10.
        waiting_weight: Weight of a waiting request. Default: 10.
        target_share: Share of ``max_num_seqs`` at which a replica is full.
            Default: 0.75.
        schedule: When a model that can go to zero is kept warm. Default: never.
        on_request: Whether a request wakes a model that has no replica, through KEDA's
            HTTP add-on: ``hold`` lets it wait, ``retry`` answers 503 with
            ``Retry-After``. Default: neither.
        jobs_queue_arn: SQS queue whose messages wake the model. Default: none.
        gateway_query: PromQL for the model's requests at a gateway, which wakes it.
            Default: none.
        served_name: Name that clients send as ``model``. Default: ``name``.
        hugging_face: Repository and commit of the Hugging Face Hub from which the
            weights are imported below ``prefix``, as ``owner/name@<40 hex digits>``.
            Default: none; the weights are brought there by hand.
        hugging_face_secret: Secret in the namespace ``inference`` whose key ``token``
            opens a gated repository. Default: none.
        api_key_secret: Secret in the namespace ``inference`` whose key ``api-key``
            clients must send. Default: none; the network decides who may ask.
    """

    name: str
    pool: str
    prefix: str
    checkpoint: str = ""
    weights_gb: float | None = None
    max_model_len: int | None = None
    max_num_seqs: int = 32
    gpus: int = 1
    gpu_memory_utilization: float = 0.9
    cpu: int = 3
    memory_gib: int = 12
    min_replicas: int = 1
    max_replicas: int = 10
    waiting_weight: int = 10
    target_share: float = 0.75
    schedule: Schedule | None = None
    on_request: str = ""
    jobs_queue_arn: str = ""
    gateway_query: str = ""
    served_name: str = ""
    api_key_secret: str = ""
    hugging_face: str = ""
    hugging_face_secret: str = ""

    @property
    def can_wake(self) -> bool:
        """Whether something outside its pods wakes the model."""
        other = self.on_request or self.jobs_queue_arn or self.gateway_query
        return self.schedule is not None or bool(other)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservabilitySettings:
    """Who is told of an alarm, and where metrics are kept longer than two days.

    Args:
        emails: Addresses that the alarms' topic writes to, once each has confirmed.
            Default: none; the topic takes other subscriptions.
        managed_prometheus: Whether metrics also go to a workspace of Amazon Managed
            Prometheus, which keeps them 150 days and is paid for by the sample.
            Default: False.
        managed_grafana: Whether a workspace of Amazon Managed Grafana reads them, for
            users of IAM Identity Center. Default: False; the Grafana in the cluster is
            reached by ``kubectl port-forward``.
        dashboards: Whether the dashboards are installed. Default: True.
    """

    emails: tuple[str, ...] = ()
    managed_prometheus: bool = False
    managed_grafana: bool = False
    dashboards: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailSwitch:
    """Another severity for a rule of ``docs/guardrails.md``.

    Args:
        rule: Id of the rule, such as ``eks_inference:spotGrace``.
        severity: ``error``, ``warning`` or ``off``.
        reason: Why; it stands in every synthesis of the stage.
    """

    rule: str
    severity: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """The VPC.

    Args:
        cidr: Address range, /16 to /20.
        zones: Availability zones. Counts when an account is given: without one, CDK
            makes two. Default: 3.
        availability_zones: Names of the zones, where the first ones of the region do
            not do (EKS refuses some). Default: the first ones of the region.
        nat_gateways: NAT gateways: one is cheap, one per zone survives a zone.
        interface_endpoints: Services that are reached without NAT, each at an hourly
            price per zone. Default: none.
    """

    cidr: str = "10.0.0.0/16"
    zones: int = 3
    availability_zones: tuple[str, ...] = ()
    nat_gateways: int = 1
    interface_endpoints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSettings:
    """The image of vLLM, as public ECR has it.

    Args:
        repository: Repository below ``public.ecr.aws``.
        tag: Tag. Default: vLLM 0.31.0 with CUDA 13.0.
        digest: Digest, used beside the tag where it is given; the deployment fails
            when the tag has another one. Its output ``Image`` says the tag's.
            Default: none.
    """

    repository: str = "deep-learning-containers/vllm"
    tag: str = "0.31.0-gpu-py312-cu130-ubuntu24.04-ec2"
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemNodes:
    """The managed nodes that run the controllers.

    Args:
        instance_type: EC2 instance type, x86-64. Default: m6i.large.
        count: Nodes; Karpenter's two replicas need two, in two zones. Default: 2.
    """

    instance_type: str = "m6i.large"
    count: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that distinguishes one stage from another.

    Args:
        stage: Name of the stage; part of the names of stacks and cluster.
        account: AWS account. Default: the one of the credentials at deployment.
        region: AWS region. Default: the one of the credentials at deployment.
        kubernetes_version: A version of ``versions.py``. Default: 1.35.
        retain: Keep buckets, file systems and keys when the stacks are deleted, and
            protect the stacks. Default: True.
        network: The VPC.
        system_nodes: The nodes of the controllers.
        image: The image of vLLM.
        docker_hub_secret: Name of the Secrets Manager secret with the credentials of
            a Docker Hub account. Default: none, and no cache for Docker Hub.
        admin_role_arns: IAM roles that may administer the cluster.
        public_access_cidrs: Networks that may reach the Kubernetes API over the
            internet. Default: none; the API is private.
        signal: Where KEDA reads the queue: ``prometheus``, or ``otel-scaler`` for
            Kedify's OpenTelemetry add-on, which cannot tell an outage from an idle
            model. Default: ``prometheus``.
        shared_compile_cache: Whether models share compiled kernels through EFS.
            Default: True.
        observability: Who is told, and what is kept.
        pools: The GPU pools.
        models: The models.
        guardrails: Rules that the stage judges otherwise. Default: none.
    """

    stage: str
    account: str | None = None
    region: str | None = None
    kubernetes_version: str = "1.35"
    retain: bool = True
    network: NetworkSettings = field(default_factory=NetworkSettings)
    system_nodes: SystemNodes = field(default_factory=SystemNodes)
    image: ImageSettings = field(default_factory=ImageSettings)
    docker_hub_secret: str = ""
    admin_role_arns: tuple[str, ...] = ()
    public_access_cidrs: tuple[str, ...] = ()
    signal: str = "prometheus"
    shared_compile_cache: bool = True
    observability: ObservabilitySettings = field(default_factory=ObservabilitySettings)
    pools: tuple[PoolSettings, ...] = ()
    models: tuple[ModelSettings, ...] = ()
    guardrails: tuple[GuardrailSwitch, ...] = ()

    @property
    def cluster_name(self) -> str:
        """Name of the cluster.

        A physical name, against the rule, because IAM conditions of Karpenter's
        policy carry it in their keys, where no token can stand.
        """
        return PLATFORM_CLUSTER.format(stage=self.stage)

    def at(self, *, account: str | None, region: str | None) -> "Settings":
        """Return these settings for an account and region, where they are given."""
        return replace(
            self,
            account=self.account if account is None else account,
            region=self.region if region is None else region,
        )
