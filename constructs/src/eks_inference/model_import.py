"""A job that brings a model into a bucket."""

from collections.abc import Mapping
from functools import cache

from aws_cdk import Aws
from constructs import Construct

from eks_inference._check import DNS_LABEL_LIMIT, Problems
from eks_inference._cluster import AnyCluster, apply, cluster_problems, facts
from eks_inference._patches import JsonPatches, patch_problems, patched
from eks_inference.guardrails import path_of, place
from eks_inference.image import VLLM_IMAGE
from eks_inference.import_source import BucketSource, HuggingFaceSource, ImportSource
from eks_inference.manifests import Manifest
from eks_inference.manifests.model_import import (
    MARKER,
    Importing,
    import_manifests,
    source_hash,
    with_hash,
)
from eks_inference.model import PREFIX_PATTERN, PREFIX_RULE, ModelBucket
from eks_inference.pod_identity_role import PodIdentityRole

_NAME_LIMIT = DNS_LABEL_LIMIT - len("-import-0123456789")
_NODES = {"kubernetes.io/arch": "amd64"}
_KINDS = ("ConfigMap", "Job", "ServiceAccount")


class ModelImport(Construct):
    """A Job that copies a model into a bucket, checks it, and writes a marker last.

    Defines one Job with its ServiceAccount and ConfigMap, and one IAM role that can
    write below the model's own prefix. The model lies in a folder that is named after
    source and revision, ``<prefix><hash>/``: an old version stays whole, and can start
    replicas, while a new one arrives. Nothing is deleted.

    Needs a node without GPU that has room for the image, the namespace, the Pod
    Identity agent, and a way out to the Hub and to S3 on port 443.

    Args:
        cluster: Cluster with a kubectl provider.
        bucket: Bucket or ``ModelStore`` that the model goes to.
        prefix: Key prefix of the model, with a trailing slash, without a revision.
        source: Where the model comes from.
        name: What the names of the objects begin with. Default: the construct id in
            lower case.
        image: Image with Python 3.11 and boto3. Default: that of the models, which the
            account has pulled, scanned and trusts already.
        namespace: Namespace of all objects. Default: ``inference``.
        node_selector: Labels of the nodes that it may run on. Default: amd64, as the
            default image; the taint of GPU nodes keeps it off them.
        json_patches: Changes to the rendered objects, by kind. Default: none.

    Raises:
        ConfigurationError: Values break rules; all of them are named, and nothing was
            defined.

    Example:
        ```python
        from eks_inference.import_source import HuggingFaceSource
        from eks_inference.model_import import ModelImport

        weights = ModelImport(
            stack,
            "Weights",
            cluster=cluster,
            bucket=store,
            prefix="models/qwen-7b-awq/",
            source=HuggingFaceSource(
                repo="Qwen/Qwen2.5-7B-Instruct-AWQ",
                revision="b25037543e9394b818fdfca67ab2a00ecc7dd641",
            ),
        )
        model = Model.from_bucket(
            store, weights.prefix, name="qwen-7b", weights_gb=5.6, max_model_len=8192
        )
        ```
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        cluster: AnyCluster,
        bucket: ModelBucket,
        prefix: str,
        source: ImportSource,
        name: str | None = None,
        image: str = VLLM_IMAGE,
        namespace: str = "inference",
        node_selector: Mapping[str, str] = _NODES,
        json_patches: JsonPatches | None = None,
    ) -> None:
        name = id.lower() if name is None else name
        patches = {} if json_patches is None else json_patches
        with Problems(f"import {id!r}") as problems:
            problems.include(cluster_problems(cluster))
            problems.resource("bucket", bucket, "bucket_arn", kind="a bucket")
            problems.matches(
                "prefix",
                prefix,
                PREFIX_PATTERN,
                rule=PREFIX_RULE,
                repair="for example 'models/mistral-7b-awq/'",
            )
            if not isinstance(source, HuggingFaceSource | BucketSource):
                problems.broken(
                    "'source' must be a HuggingFaceSource or a BucketSource", source
                )
            problems.dns_label("name", name, limit=_NAME_LIMIT)
            problems.text("image", image)
            problems.dns_label("namespace", namespace)
            problems.include(_selector_problems(node_selector))
            problems.include(patch_problems(patches, _KINDS))
        importing = Importing(
            name=name,
            source=source,
            bucket=bucket.bucket_name,
            prefix=f"{prefix}{source_hash(source)}/",
            image=image,
            namespace=namespace,
            region=_region(),
            node_selector=node_selector,
        )
        manifests = with_hash(patched(import_manifests(importing), patches))
        report, scope_path = place(scope)
        # its ServiceAccount must not be that of a model
        report.claim(
            path_of(scope_path, id),
            "model",
            facts(cluster).key,
            namespace,
            importing.service_account,
        )
        super().__init__(scope, id)
        self._importing, self._bucket = importing, bucket
        self._role = PodIdentityRole(
            self,
            "Role",
            cluster=cluster,
            namespace=namespace,
            service_account=importing.service_account,
            statements=_statements(importing, bucket),
        )
        self._manifest = apply(
            self,
            "Resource",
            cluster=cluster,
            manifests=manifests,
            # credentials are injected when a pod is created, and only then
            after=[self._role.association],
        )

    @property
    def prefix(self) -> str:
        """Key prefix of this revision of the model, for ``Model.from_bucket``."""
        return self._importing.prefix

    @property
    def marker(self) -> str:
        """Key of the object that is written when the model is complete."""
        return f"{self.prefix}{MARKER}"

    @property
    def bucket(self) -> ModelBucket:
        """Bucket that the model goes to."""
        return self._bucket

    @property
    def namespace(self) -> str:
        """Namespace of the Job."""
        return self._importing.namespace

    @property
    def role(self) -> PodIdentityRole:
        """The role of the Job's pods."""
        return self._role

    @property
    def manifest(self) -> Construct:
        """The resource that applies the objects; it does not wait for the Job."""
        return self._manifest


@cache
def _region() -> str:
    # a call to JavaScript each time it is asked
    return Aws.REGION


def _selector_problems(selector: object) -> list[str]:
    problems = Problems()
    good = isinstance(selector, Mapping) and all(
        isinstance(text, str) for item in selector.items() for text in item
    )
    if not good:
        problems.broken(
            "'node_selector' must map labels to values",
            selector,
            "for example {'kubernetes.io/arch': 'amd64'}",
        )
    return problems.messages


def _statements(importing: Importing, bucket: ModelBucket) -> dict[str, list[Manifest]]:
    source = importing.source
    policies = {
        "WriteModel": _access(
            bucket,
            importing.prefix,
            ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"],
            ["kms:Decrypt", "kms:GenerateDataKey"],
        )
    }
    if isinstance(source, BucketSource):
        policies["ReadSource"] = _access(
            source.bucket, source.prefix, ["s3:GetObject"], ["kms:Decrypt"]
        )
    return policies


def _access(
    bucket: ModelBucket, prefix: str, actions: list[str], key_actions: list[str]
) -> list[Manifest]:
    statements: list[Manifest] = [
        {
            "Effect": "Allow",
            "Action": actions,
            # the objects of one model: which they are is its repository's affair
            "Resource": f"{bucket.bucket_arn}/{prefix}*",
        },
        {
            # also what makes S3 say that an object is not there, and not that it
            # may not be seen
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": bucket.bucket_arn,
            "Condition": {"StringLike": {"s3:prefix": f"{prefix}*"}},
        },
    ]
    if bucket.encryption_key is not None:
        statements.append(
            {
                "Effect": "Allow",
                "Action": key_actions,
                "Resource": bucket.encryption_key.key_arn,
            }
        )
    return statements
