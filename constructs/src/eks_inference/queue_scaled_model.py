"""A model that is served by as many replicas as its queue needs."""

from collections.abc import Sequence

from aws_cdk import Aws
from aws_cdk import aws_kms as kms
from constructs import Construct, IDependable

from eks_inference._apply import apply
from eks_inference.compile_cache import CompileCache
from eks_inference.drain import Drain
from eks_inference.gpu_inference_pool import IGpuInferencePool
from eks_inference.manifests import Manifest
from eks_inference.manifests.serving import PORT, Serving, serving_manifests
from eks_inference.model import Model
from eks_inference.planning.serving import ServingPlan, plan_serving
from eks_inference.pod_identity_role import PodIdentityRole
from eks_inference.scaling import QueueScaling
from eks_inference.signal import Signal

VLLM_IMAGE = (
    "public.ecr.aws/deep-learning-containers/vllm:"
    "0.31.0-gpu-py312-cu130-ubuntu24.04-ec2"
)
"""AWS's container with vLLM 0.31.0 and CUDA 13.0, which needs NVIDIA driver R580
(aws/deep-learning-containers, docs/src/data/vllm/0.31.0-gpu-ec2.yml at c6e3ca1)."""


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
        compile_cache: Where compiled kernels are kept. Default: off; every start
            compiles.
        image: Image of vLLM with a tag or digest. Default: AWS's container with
            vLLM 0.31.0, from public ECR.
        namespace: Namespace of all objects. Default: ``inference``.
        decryption_key: KMS key that encrypts the weights. Default: none.
        priority_class_name: Priority class of the pods. Default: the cluster's.
        after: What else must exist before the pods, such as the claim of a shared
            cache. Default: nothing.

    Raises:
        ConfigurationError: Values break rules; all of them are named, and nothing was
            defined.
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
        compile_cache: CompileCache | None = None,
        image: str = VLLM_IMAGE,
        namespace: str = "inference",
        decryption_key: kms.IKey | None = None,
        priority_class_name: str | None = None,
        after: Sequence[IDependable] = (),
    ) -> None:
        scaling = scaling or QueueScaling()
        drain = drain or Drain()
        plan = plan_serving(model=model, scaling=scaling, drain=drain, pool=pool.pool)
        super().__init__(scope, id)
        serving = Serving(
            model=model,
            plan=plan,
            scaling=scaling,
            drain=drain,
            signal=signal or Signal.prometheus(),
            cache=compile_cache or CompileCache.off(),
            image=image,
            namespace=namespace,
            pool_name=pool.pool.name,
            region=Aws.REGION,
            priority_class_name=priority_class_name,
        )
        self._serving = serving
        self._role = PodIdentityRole(
            self,
            "Role",
            cluster=pool.cluster,
            namespace=namespace,
            service_account=serving.name,
            statements={"ReadModel": _read_model(model, decryption_key)},
        )
        self._manifest = apply(
            self,
            "Resource",
            cluster=pool.cluster,
            manifests=serving_manifests(serving),
            # credentials are injected when a pod is created, and only then
            after=[pool.manifest, self._role.association, *after],
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


def _read_model(model: Model, key: kms.IKey | None) -> list[Manifest]:
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
    if key is not None:
        statements.append(
            {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": key.key_arn}
        )
    return statements
