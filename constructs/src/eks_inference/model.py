"""What is served: the weights, how vLLM runs them, and what the pod needs."""

from dataclasses import dataclass, field
from typing import Protocol, Self

from eks_inference._check import DNS_LABEL_LIMIT, Problems
from eks_inference.checkpoint import Checkpoint

KEDA_HPA_PREFIX = "keda-hpa-"
"""KEDA calls the autoscaler of a ScaledObject so, with the object's name behind it
(keda.sh, ScaledObject specification, ``horizontalPodAutoscalerConfig.name``)."""


_ROUNDING = 0.02
"""How far a size that somebody has written down may be from the checkpoint's."""


class ModelBucket(Protocol):
    """The part of ``aws_s3.IBucket`` that a model needs (satisfied structurally)."""

    @property
    def bucket_name(self) -> str:
        """Name of the bucket; may be a CDK token."""

    @property
    def bucket_arn(self) -> str:
        """ARN of the bucket; may be a CDK token."""

    @property
    def encryption_key(self) -> "EncryptionKey | None":
        """Key that encrypts the bucket's objects, if it is known and not S3's own."""


class EncryptionKey(Protocol):
    """The part of ``aws_kms.IKey`` that a model needs (satisfied structurally)."""

    @property
    def key_arn(self) -> str:
        """ARN of the key; may be a CDK token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A language model in a bucket and the limits under which vLLM serves it.

    Args:
        name: Name that every Kubernetes object of the model carries, and that clients
            send as ``model`` unless ``served_name`` is another. A DNS label that does
            not start with ``vllm``: a Service of that name would inject ``VLLM_PORT``
            into pods, which vLLM reads as its own setting and refuses.
        bucket: Bucket that holds the weights as safetensors.
        prefix: Key prefix of the weights, with a trailing slash. The model's role
            can read below this prefix and nowhere else.
        checkpoint: What the weights are the weights of, such as
            ``CHECKPOINTS["mistral-7b-awq"]``. With it, a model that does not fit its
            pool is refused, and what follows from it need not be said. Default: not
            known.
        weights_gb: Size of the safetensors in decimal gigabytes. Bounds the
            streamer's buffer and its concurrency. Default: the checkpoint's.
        max_model_len: Longest sequence (prompt and answer) in tokens. Default: what
            the checkpoint was made for, or as much of it as fits every GPU of the
            pool.
        max_num_seqs: Sequences that one replica processes at once. vLLM's own
            default (256, or 1024 on large GPUs) would leave the queue empty until
            latency has long suffered, so it is always stated. Default: 32, or fewer
            where the KV cache has no room for so many of usual length.
        gpus: GPUs per replica, which is also the tensor-parallel size. Default: the
            fewest that the checkpoint fits, and 1 without one.
        gpu_memory_utilization: Share of GPU memory that vLLM claims. Default: 0.9,
            below vLLM 0.33's 0.92, which leaves less for CUDA graphs.
        cpu: CPUs that a replica requests. Default: 3 for each GPU, which with the
            daemons of a node fits the 3.92 allocatable CPUs of a 4 vCPU instance. Not
            measured.
        memory_gib: Memory of a replica in GiB, request and limit. Default: 12 for
            each GPU, which fits the 13.8 GiB that pods get of a g5.xlarge or
            g6.xlarge. Not measured.
        served_name: Name that clients send as ``model``. It can change while every
            object keeps its name, and two models can share it: an old version and its
            successor, or the same weights in two pools. Default: ``name``.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.

    Example:
        ```python
        Model.from_bucket(
            store,
            "models/llama-70b/",
            name="llama-70b",
            weights_gb=39.8,
            max_model_len=8192,
            gpus=4,
            memory_gib=64,
        )
        ```
    """

    name: str
    bucket: ModelBucket = field(compare=False, repr=False)
    prefix: str
    checkpoint: Checkpoint | None = None
    weights_gb: float | None = None
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    gpus: int | None = None
    gpu_memory_utilization: float = 0.9
    cpu: int | None = None
    memory_gib: int | None = None
    served_name: str | None = None

    def __post_init__(self) -> None:
        with Problems(f"model {self.name!r}") as problems:
            problems.include(
                model_problems(
                    name=self.name,
                    prefix=self.prefix,
                    checkpoint=self.checkpoint,
                    weights_gb=self.weights_gb,
                    max_model_len=self.max_model_len,
                    max_num_seqs=self.max_num_seqs,
                    gpus=self.gpus,
                    gpu_memory_utilization=self.gpu_memory_utilization,
                    cpu=self.cpu,
                    memory_gib=self.memory_gib,
                    served_name=self.served_name,
                )
            )

    @classmethod
    def from_bucket(
        cls,
        bucket: ModelBucket,
        prefix: str,
        *,
        name: str,
        checkpoint: Checkpoint | None = None,
        weights_gb: float | None = None,
        max_model_len: int | None = None,
        **limits: float | None,
    ) -> Self:
        """Return the model whose weights lie below ``prefix`` in ``bucket``.

        Args:
            bucket: Bucket or ``ModelStore`` that holds the weights.
            prefix: Key prefix of the weights, with a trailing slash.
            name: Name of the Kubernetes objects, which clients send as ``model``.
            checkpoint: What the weights are the weights of. Default: not known.
            weights_gb: Size of the safetensors in decimal gigabytes. Default: the
                checkpoint's.
            max_model_len: Longest sequence in tokens. Default: the checkpoint's.
            limits: The other arguments of the class, by name.

        Raises:
            ConfigurationError: A value breaks a rule; all of them are named.
        """
        return cls(
            name=name,
            bucket=bucket,
            prefix=prefix,
            checkpoint=checkpoint,
            weights_gb=weights_gb,
            max_model_len=max_model_len,
            **limits,  # type: ignore[arg-type]  # checked by __post_init__
        )

    @property
    def weight_bytes(self) -> int:
        """Size of the weights in bytes."""
        if self.weights_gb is not None:
            return round(self.weights_gb * 1e9)
        assert self.checkpoint is not None  # or the model would have been refused
        return self.checkpoint.weight_bytes

    @property
    def client_name(self) -> str:
        """Name that clients send as ``model``."""
        return self.name if self.served_name is None else self.served_name

    @property
    def uri(self) -> str:
        """Where vLLM reads the weights from."""
        return f"s3://{self.bucket.bucket_name}/{self.prefix}"


PREFIX_PATTERN = r"((?!\.\.?/)([\w.=+@-]|\$\{Token\[[\w.]+\]\})+/)+"
PREFIX_RULE = (
    "a key prefix: names of letters, digits and '._=+@-', with a '/' behind each"
)


_SERVED_NAME = r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,199}"
"""What needs no escaping in a query, a flag or a URL; the length is our own bound."""


def model_problems(
    *,
    name: object,
    prefix: object,
    checkpoint: object,
    weights_gb: object,
    max_model_len: object,
    max_num_seqs: object,
    gpus: object,
    gpu_memory_utilization: object,
    cpu: object,
    memory_gib: object,
    served_name: object = None,
) -> list[str]:
    """Return what is wrong with a model's values; see ``Model`` for their meaning."""
    problems = Problems()
    problems.include(model_name_problems(name))
    problems.matches(
        "prefix",
        prefix,
        PREFIX_PATTERN,
        rule=PREFIX_RULE,
        repair="for example 'models/mistral-7b-awq/'",
    )
    if checkpoint is None:
        problems.include(_bare_problems(weights_gb, max_model_len))
    elif problems.instance("checkpoint", checkpoint, Checkpoint):
        assert isinstance(checkpoint, Checkpoint)
        problems.include(_checkpoint_problems(checkpoint, weights_gb, max_model_len))
    _optional(problems, "max_num_seqs", max_num_seqs, 2, 4_096)
    _optional(problems, "gpus", gpus, 1, 8)
    problems.number(
        "gpu_memory_utilization", gpu_memory_utilization, minimum=0.1, maximum=0.98
    )
    _optional(problems, "cpu", cpu, 1, 192)
    _optional(problems, "memory_gib", memory_gib, 4, 3_072)
    problems.include(served_name_problems(served_name))
    return problems.messages


def model_name_problems(name: object) -> list[str]:
    """Return what is wrong with the name of a model's objects."""
    problems = Problems()
    # KEDA names the autoscaler 'keda-hpa-<ScaledObject>', which is a label value too
    named = problems.dns_label(
        "name", name, limit=DNS_LABEL_LIMIT - len(KEDA_HPA_PREFIX)
    )
    if named and str(name).startswith("vllm"):
        problems.add(
            f"'name' must not start with 'vllm', got {name!r}: a Service of that name "
            "injects VLLM_* variables that vLLM takes for its own; choose another name"
        )
    return problems.messages


def served_name_problems(served_name: object) -> list[str]:
    """Return what is wrong with the name that clients send, where it is given."""
    problems = Problems()
    if served_name is not None:
        problems.matches(
            "served_name",
            served_name,
            _SERVED_NAME,
            rule="a name of letters, digits and '._/:-', at most 200 long",
            repair="for example 'mistral-7b-instruct'",
        )
    return problems.messages


def _optional(
    problems: Problems, name: str, value: object, minimum: int, maximum: int
) -> None:
    if value is not None:
        problems.integer(name, value, minimum=minimum, maximum=maximum)


def _bare_problems(weights_gb: object, max_model_len: object) -> list[str]:
    problems = Problems()
    missing = "a 'checkpoint' would say it"
    problems.number(
        "weights_gb",
        weights_gb,
        minimum=0.01,
        maximum=2_000,
        repair=missing if weights_gb is None else "",
    )
    problems.integer(
        "max_model_len",
        max_model_len,
        minimum=256,
        maximum=10_000_000,
        repair=missing if max_model_len is None else "",
    )
    return problems.messages


def _checkpoint_problems(
    checkpoint: Checkpoint, weights_gb: object, max_model_len: object
) -> list[str]:
    problems = Problems()
    known = checkpoint.weights_gb
    if weights_gb is not None and problems.number(
        "weights_gb", weights_gb, minimum=0.01, maximum=2_000
    ):
        assert isinstance(weights_gb, int | float)
        if abs(weights_gb - known) > _ROUNDING * known:
            problems.broken(
                f"'weights_gb' must be that of the 'checkpoint' {checkpoint.name!r} "
                f"({known:.2f})",
                weights_gb,
                "leave it out",
            )
    if max_model_len is not None:
        most = checkpoint.architecture.context
        problems.integer(
            "max_model_len",
            max_model_len,
            minimum=256,
            maximum=most,
            repair=f"{checkpoint.name!r} was made for {most} tokens",
        )
    return problems.messages
