"""A model that is served by as many replicas as its queue needs."""

from collections.abc import Sequence
from functools import cache

from aws_cdk import Aws
from constructs import Construct, IDependable

from eks_inference._check import Problems
from eks_inference._cluster import apply, cluster_problems, facts
from eks_inference._patches import JsonPatches, patch_problems, patched
from eks_inference.compile_cache import ICompileCache
from eks_inference.drain import Drain
from eks_inference.gpu_inference_pool import IGpuInferencePool
from eks_inference.guardrails import path_of, place
from eks_inference.image import vllm_version
from eks_inference.manifests import NVIDIA_GPU, Manifest
from eks_inference.manifests.serving import PORT, Serving, serving_manifests
from eks_inference.model import Model
from eks_inference.planning.kernels import DEFAULT_VLLM_VERSION
from eks_inference.planning.serving import ServingPlan, plan_serving
from eks_inference.pod_identity_role import PodIdentityRole
from eks_inference.rules import ModelFacts, PoolFacts
from eks_inference.scaling import QueueScaling
from eks_inference.signal import Signal

VLLM_IMAGE = (
    "public.ecr.aws/deep-learning-containers/vllm:"
    "0.31.0-gpu-py312-cu130-ubuntu24.04-ec2"
)
"""AWS's container with vLLM 0.31.0 and CUDA 13.0, which needs NVIDIA driver R580
(aws/deep-learning-containers, docs/src/data/vllm/0.31.0-gpu-ec2.yml at c6e3ca1)."""

_KEDA_MOST_REPLICAS = 100
"""What KEDA takes where no maximum is given."""

_KINDS = (
    "Deployment",
    "PodDisruptionBudget",
    "PodMonitor",
    "ScaledObject",
    "Service",
    "ServiceAccount",
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
                _name_problems(image, namespace, priority_class_name, compile_cache)
            )
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
        )
        manifests = patched(serving_manifests(serving), patches)
        statements = _read_model(model)
        report, scope_path = place(scope)
        path = path_of(scope_path, id)
        report.claim(path, "model", facts(pool.cluster).key, namespace, model.name)
        super().__init__(scope, id)
        self._serving = serving
        pool_facts = pool.facts or PoolFacts(path="", pool=pool.pool, manifests={})
        pool_facts.needs[path] = _needs(manifests)
        report.models.append(
            ModelFacts(
                path=path,
                name=model.name,
                has_activation=scaling.activation is not None,
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
            manifests=manifests,
            after=[
                # credentials are injected when a pod is created, and only then
                self._role.association,
                *(part for part in (pool.manifest, cache_manifest) if part),
                *after,
            ],
        )

    @property
    def plan(self) -> ServingPlan:
        """The numbers that follow from the model, its scaling and its pool."""
        return self._serving.plan

    @property
    def endpoint(self) -> str:
        """Address of the OpenAI-compatible API inside the cluster."""
        serving = self._serving
        return f"http://{serving.name}.{serving.namespace}.svc:{PORT}/v1"

    @property
    def role(self) -> PodIdentityRole:
        """The role of the model's pods."""
        return self._role

    @property
    def manifest(self) -> Construct:
        """The resource that applies the model's objects."""
        return self._manifest


def _name_problems(
    image: object, namespace: object, priority_class_name: object, compile_cache: object
) -> list[str]:
    problems = Problems()
    problems.text("image", image)
    problems.dns_label("namespace", namespace)
    if priority_class_name is not None:
        problems.dns_label("priority_class_name", priority_class_name)
    if compile_cache is not None and not hasattr(compile_cache, "claim_name"):
        problems.broken(
            "'compile_cache' must be a cache",
            compile_cache,
            "use CompileCache.from_claim_name(...)",
        )
    elif getattr(compile_cache, "namespace", None) not in {None, namespace}:
        problems.broken(
            f"'compile_cache' must have its claim in the model's namespace "
            f"({namespace!r})",
            getattr(compile_cache, "namespace", None),
        )
    return problems.messages


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
