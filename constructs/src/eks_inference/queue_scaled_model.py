"""A model that is served by as many replicas as its queue needs."""

from collections.abc import Sequence
from functools import cache

from aws_cdk import Aws
from aws_cdk import aws_iam as iam
from constructs import Construct, IDependable

from eks_inference._check import Problems
from eks_inference._cluster import apply, await_replica, cluster_problems, facts
from eks_inference._model_arguments import (
    await_problems,
    endpoint_problems,
    name_problems,
    weights_problems,
)
from eks_inference._patches import JsonPatches, patch_problems, patched
from eks_inference.activation import QueueActivation
from eks_inference.compile_cache import ICompileCache
from eks_inference.dashboards import Dashboard, config_maps, model_dashboard
from eks_inference.drain import Drain
from eks_inference.gpu_inference_pool import IGpuInferencePool
from eks_inference.guardrails import path_of, place
from eks_inference.image import VLLM_IMAGE, vllm_version
from eks_inference.manifests import NVIDIA_GPU, Manifest
from eks_inference.manifests.alert_rules_model import alerts_of, model_rule
from eks_inference.manifests.alerts import Alert
from eks_inference.manifests.model import serving_manifests
from eks_inference.manifests.scaling import (
    INTERCEPTOR_PORT,
    front_name,
    front_service,
    http_activation,
)
from eks_inference.manifests.serving import PORT, Serving
from eks_inference.model import Model
from eks_inference.model_endpoint import ModelEndpoint
from eks_inference.model_import import ModelImport
from eks_inference.observability import Observability
from eks_inference.planning.kernels import DEFAULT_VLLM_VERSION
from eks_inference.planning.serving import ServingPlan, plan_serving
from eks_inference.pod_identity_role import PodIdentityRole
from eks_inference.rules import ModelFacts, PoolFacts
from eks_inference.scaling import QueueScaling
from eks_inference.secret_key import SecretKey
from eks_inference.signal import AmpSignal, PrometheusSignal, Signal

_KEDA_MOST_REPLICAS = 100
"""What KEDA takes where no maximum is given."""

_KINDS = (
    "Deployment",
    "InterceptorRoute",
    "PodDisruptionBudget",
    "PodMonitor",
    "ScaledObject",
    "Service",
    "ServiceAccount",
    "TriggerAuthentication",
)


class QueueScaledModel(Construct):
    """A language model served by vLLM on the nodes of a pool.

    Defines one ServiceAccount, Service, PodDisruptionBudget, Deployment, PodMonitor
    and ScaledObject, and one IAM role that can read the model's own prefix. The
    cluster needs KEDA (checked against 2.20), the Prometheus operator, the Pod
    Identity agent and the namespace.

    Args:
        pool: Pool whose nodes the replicas run on.
        model: What is served.
        scaling: When replicas are added and removed. Default: one to ten.
        drain: How a replica ends. Default: 110 s in all, which a spot notice allows.
        signal: Where the autoscaler reads the queue. Default: Prometheus in the
            cluster, as the kube-prometheus-stack chart installs it.
        compile_cache: Where compiled kernels are kept. Default: nowhere; every start
            compiles.
        image: Image of vLLM with a tag or digest. Default: AWS's container with
            vLLM 0.31.0, from public ECR.
        namespace: Namespace of all objects. Default: ``inference``.
        priority_class_name: Priority class of the pods. Default: the cluster's.
        weights: Import that brings the weights to the model's prefix. The pods wait for
            its end instead of failing. Default: none; the weights are there.
        api_key: Secret in the model's namespace with the key that clients must send.
            Probes and metrics need none. Default: an open API, which the network
            guards alone. vLLM's ``/invocations`` serves without a key all the same.
        shared_endpoint: Service that the model shares with others of the same
            ``served_name``. Default: none; the model has a Service of its own always.
        observability: Alerts and dashboard that the model brings along. Default: both;
            ``Observability.off()`` brings neither. Without alerts, dashboard and
            Prometheus signal the cluster needs no Prometheus operator.
        await_ready: Whether the deployment waits until a replica is ready, and fails
            where none is within 14 minutes. What it replaces is deleted only then, so
            that a successor takes over without a gap. Default: False.
        after: What else must exist before the pods. Default: nothing.
        json_patches: Changes to the rendered objects, by kind; guardrails judge the
            result. Default: none.

    Raises:
        ConfigurationError: Values break rules; all of them are named, and nothing was
            defined.

    Example:
        ```python
        chat = QueueScaledModel(
            stack,
            "Chat",
            pool=pool,
            model=Model.from_bucket(
                store,
                "models/mistral-7b-instruct-awq/",
                name="mistral-7b",
                weights_gb=4.15,
                max_model_len=8192,
            ),
            scaling=QueueScaling(min_replicas=1, max_replicas=10),
        )
        chat.endpoint  # http://mistral-7b.inference.svc:8000/v1
        ```
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        pool: IGpuInferencePool,
        model: Model,
        scaling: QueueScaling | None = None,
        drain: Drain | None = None,
        signal: Signal | None = None,
        compile_cache: ICompileCache | None = None,
        image: str = VLLM_IMAGE,
        namespace: str = "inference",
        priority_class_name: str | None = None,
        weights: ModelImport | None = None,
        api_key: SecretKey | None = None,
        shared_endpoint: ModelEndpoint | None = None,
        observability: Observability | None = None,
        await_ready: bool = False,
        after: Sequence[IDependable] = (),
        json_patches: JsonPatches | None = None,
    ) -> None:
        patches = json_patches or {}
        scaling = scaling or QueueScaling()
        drain = drain or Drain()
        signal = signal or Signal.prometheus()
        with Problems(f"model {id!r}") as problems:
            if not hasattr(pool, "cluster"):
                problems.broken("'pool' must be a pool of GPU nodes", pool)
            else:
                problems.include(cluster_problems(pool.cluster))
            if problems.sequence("after", after):
                for part in after:
                    # dependables have nothing in common but that JavaScript has them
                    if not hasattr(part, "__jsii_type__"):
                        problems.broken("'after' must hold constructs", part)
            problems.include(patch_problems(patches, _KINDS))
            for argument, value, kind in (
                ("model", model, Model),
                ("scaling", scaling, QueueScaling),
                ("drain", drain, Drain),
                ("signal", signal, Signal),
            ):
                problems.instance(argument, value, kind)
            problems.include(
                name_problems(image, namespace, priority_class_name, compile_cache)
            )
            problems.include(weights_problems(weights, model, namespace))
            if observability is not None:
                problems.instance("observability", observability, Observability)
            if api_key is not None:
                problems.instance("api_key", api_key, SecretKey)
            if problems.flag("await_ready", await_ready) and await_ready:
                problems.include(await_problems(scaling))
            problems.include(endpoint_problems(shared_endpoint, namespace, model))
        version = vllm_version(image) or DEFAULT_VLLM_VERSION
        with Problems(f"model {id!r}") as problems:
            plan = problems.attempt(
                lambda: plan_serving(
                    model=model,
                    scaling=scaling,
                    pool=pool.pool,
                    vllm_version=version,
                    has_compile_cache=compile_cache is not None,
                )
            )
        assert plan is not None  # or its problems have been raised
        serving = Serving(
            model=model,
            plan=plan,
            scaling=scaling,
            drain=drain,
            signal=signal,
            cache_claim=compile_cache.claim_name if compile_cache else None,
            image=image,
            namespace=namespace,
            pool_name=pool.pool.name,
            region=_region(),
            priority_class_name=priority_class_name,
            api_key=api_key,
            shared_endpoint=shared_endpoint.name if shared_endpoint else None,
            imported=weights is not None,
        )
        shown = observability or Observability()
        rendered = [
            item
            for item in serving_manifests(serving)
            if item["kind"] != "PodMonitor" or _is_scraped(signal, shown)
        ]
        manifests = patched(rendered, patches)
        extra = [*front_service(serving), *_shown(serving, shown)]
        statements = _read_model(model)
        report, scope_path = place(scope)
        path = path_of(scope_path, id)
        report.claim(path, "model", facts(pool.cluster).key, namespace, model.name)
        super().__init__(scope, id)
        self._serving = serving
        self._observability = shown
        pool_facts = pool.facts or PoolFacts(path="", pool=pool.pool, manifests={})
        pool_facts.needs[path] = _needs(manifests)
        report.models.append(
            ModelFacts(
                path=path,
                name=model.name,
                has_activation=bool(scaling.activations),
                sees_outage=signal.sees_outage,
                cold_start_seconds=plan.cold_start.p90,
                pool=pool_facts,
                checkpoint=model.checkpoint,
                vllm_version=version,
                manifests={manifest["kind"]: manifest for manifest in manifests},
            )
        )
        report.constructs[path] = self
        self._role = PodIdentityRole(
            self,
            "Role",
            cluster=pool.cluster,
            namespace=namespace,
            service_account=serving.name,
            statements={"ReadModel": statements},
        )
        cache_manifest = compile_cache.manifest if compile_cache else None
        self._manifest = apply(
            self,
            "Resource",
            cluster=pool.cluster,
            manifests=[*manifests, *extra],
            after=[
                # credentials are injected when a pod is created, and only then
                self._role.association,
                *(part for part in (pool.manifest, cache_manifest) if part),
                *(part.manifest for part in (shared_endpoint, weights) if part),
                *after,
            ],
        )
        if await_ready:
            await_replica(
                self,
                "Ready",
                cluster=pool.cluster,
                namespace=namespace,
                deployment=serving.name,
                after=self._manifest,
            )

    def grant_scaling(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let KEDA's operator read what the model is scaled on, where that is in AWS.

        Args:
            grantee: Role of KEDA's service account.

        Returns:
            The grant; an empty one where no trigger asks AWS.
        """
        signal = self._serving.signal
        sources: list[tuple[str, str]] = []
        if isinstance(signal, AmpSignal):
            sources.append(("aps:QueryMetrics", signal.workspace_arn))
        sources += [
            ("sqs:GetQueueAttributes", item.sqs_queue.queue_arn)
            for item in self._serving.scaling.activations
            if isinstance(item, QueueActivation)
        ]
        grant = iam.Grant.drop(grantee, "no trigger of the model asks AWS")
        for action, resource in sources:
            grant = grant.combine(
                iam.Grant.add_to_principal(
                    grantee=grantee, actions=[action], resource_arns=[resource]
                )
            )
        return grant

    @property
    def alarms(self) -> Sequence[Alert]:
        """The alerts of the model, whether it brings them along or not."""
        return alerts_of(self._serving, objective=self._observability.objective)

    @property
    def dashboard(self) -> Dashboard:
        """The dashboard of the model, whether it brings it along or not."""
        return _dashboard(self._serving)

    @property
    def plan(self) -> ServingPlan:
        """The numbers that follow from the model, its scaling and its pool."""
        return self._serving.plan

    @property
    def endpoint(self) -> str:
        """Address of the OpenAI-compatible API inside the cluster.

        That of the interceptor, where a request can wake the model.
        """
        serving = self._serving
        if http_activation(serving) is not None:
            host = f"{front_name(serving)}.{serving.namespace}.svc"
            return f"http://{host}:{INTERCEPTOR_PORT}/v1"
        return f"http://{serving.name}.{serving.namespace}.svc:{PORT}/v1"

    @property
    def role(self) -> PodIdentityRole:
        """The role of the model's pods."""
        return self._role

    @property
    def manifest(self) -> Construct:
        """The resource that applies the model's objects."""
        return self._manifest


def _is_scraped(signal: Signal, shown: Observability) -> bool:
    """Say whether anything of a model asks a Prometheus."""
    return isinstance(signal, PrometheusSignal) or shown.alerts or shown.dashboard


def _dashboard(serving: Serving) -> Dashboard:
    series = serving.series
    return model_dashboard(
        namespace=series.namespace, name=series.name, served_name=series.served_name
    )


def _shown(serving: Serving, shown: Observability) -> list[Manifest]:
    found = []
    if shown.alerts:
        found.append(
            model_rule(
                serving, objective=shown.objective, runbook_url=shown.runbook_url
            )
        )
    if shown.dashboard:
        found += config_maps([_dashboard(serving)], namespace=serving.namespace)
    return found


def _needs(manifests: Sequence[Manifest]) -> tuple[int, int]:
    """Return GPUs of a replica and most replicas, as they will be applied."""
    by_kind = {manifest["kind"]: manifest for manifest in manifests}
    pod = by_kind["Deployment"]["spec"]["template"]["spec"]
    limits = pod["containers"][0].get("resources", {}).get("limits", {})
    most = by_kind["ScaledObject"]["spec"].get("maxReplicaCount", _KEDA_MOST_REPLICAS)
    return int(limits.get(NVIDIA_GPU, 0)), int(most)


@cache
def _region() -> str:
    # the same token for every model, and a call to JavaScript each time it is asked
    return Aws.REGION


def _read_model(model: Model) -> list[Manifest]:
    bucket = model.bucket.bucket_arn
    statements: list[Manifest] = [
        {
            "Effect": "Allow",
            "Action": "s3:GetObject",
            # the objects of one model: which they are is the bucket's affair
            "Resource": f"{bucket}/{model.prefix}*",
        },
        {
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": bucket,
            "Condition": {"StringLike": {"s3:prefix": f"{model.prefix}*"}},
        },
    ]
    key = model.bucket.encryption_key
    if key is not None:
        statements.append(
            {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": key.key_arn}
        )
    return statements
