"""A bucket for the weights of models."""

from collections.abc import Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from eks_inference._check import Problems
from eks_inference.model import PREFIX_PATTERN, PREFIX_RULE

_READ_OBJECTS = ("s3:GetObject",)
_WRITE_OBJECTS = ("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:PutObject")
_LIST_BUCKET = ("s3:ListBucket",)


class ModelStore(Construct):
    """A private, encrypted, versioned bucket that answers over TLS only.

    Defines one bucket with its policy and, unless one is given, one KMS key.

    Args:
        encryption_key: Key of the bucket. Default: a key of its own, which rotates.
        keep_old_versions_days: How long a replaced or deleted object can be brought
            back, in days. Default: 30.
        removal_policy: What becomes of bucket and key with the stack.
            Default: they stay.
        delete_objects: Whether the bucket is emptied before it is deleted; needs
            ``removal_policy`` DESTROY. Default: no.

    Raises:
        ConfigurationError: Values break rules; all of them are named, and nothing was
            defined.

    Example:
        ```python
        store = ModelStore(stack, "Models")
        store.grant_write(role, "models/")
        ```
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        encryption_key: kms.IKey | None = None,
        keep_old_versions_days: int = 30,
        removal_policy: cdk.RemovalPolicy = cdk.RemovalPolicy.RETAIN,
        delete_objects: bool = False,
    ) -> None:
        with Problems(f"model store {id!r}") as problems:
            problems.integer(
                "keep_old_versions_days", keep_old_versions_days, minimum=1
            )
            if encryption_key is not None:
                problems.resource(
                    "encryption_key", encryption_key, "key_arn", kind="a key of aws_kms"
                )
            problems.flag("delete_objects", delete_objects)
            known = problems.instance(
                "removal_policy", removal_policy, cdk.RemovalPolicy
            )
            if known and delete_objects and removal_policy != cdk.RemovalPolicy.DESTROY:
                problems.broken(
                    "'delete_objects' needs 'removal_policy' DESTROY",
                    removal_policy.name,
                    "a bucket that stays is not emptied",
                )
        super().__init__(scope, id)
        if encryption_key is None:
            encryption_key = kms.Key(
                self,
                "Key",
                description="Weights of models",
                enable_key_rotation=True,
                removal_policy=removal_policy,
            )
        self._key = encryption_key
        self._bucket = s3.Bucket(
            self,
            "Resource",
            encryption=s3.BucketEncryption.KMS,
            encryption_key=encryption_key,
            # one KMS call for many objects; streaming sends a request for each chunk
            bucket_key_enabled=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            versioned=True,
            lifecycle_rules=[
                s3.LifecycleRule(
                    abort_incomplete_multipart_upload_after=cdk.Duration.days(3),
                    noncurrent_version_expiration=cdk.Duration.days(
                        keep_old_versions_days
                    ),
                )
            ],
            removal_policy=removal_policy,
            auto_delete_objects=delete_objects or None,
        )
        # read once: each is a call to JavaScript, and every model asks
        self._name = self._bucket.bucket_name
        self._arn = self._bucket.bucket_arn

    @property
    def bucket(self) -> s3.Bucket:
        """The bucket."""
        return self._bucket

    @property
    def encryption_key(self) -> kms.IKey:
        """The key that encrypts the objects."""
        return self._key

    @property
    def bucket_name(self) -> str:
        """Name of the bucket."""
        return self._name

    @property
    def bucket_arn(self) -> str:
        """ARN of the bucket."""
        return self._arn

    def grant_read(self, grantee: iam.IGrantable, prefix: str) -> iam.Grant:
        """Let somebody read below a prefix, and list what is there.

        Args:
            grantee: Who reads.
            prefix: Key prefix with a trailing slash.
        """
        return self._grant(grantee, prefix, _READ_OBJECTS, ("kms:Decrypt",))

    def grant_write(self, grantee: iam.IGrantable, prefix: str) -> iam.Grant:
        """Let somebody read, write and delete below a prefix.

        Args:
            grantee: Who writes, such as an import job.
            prefix: Key prefix with a trailing slash.
        """
        return self._grant(
            grantee,
            prefix,
            (*_READ_OBJECTS, *_WRITE_OBJECTS),
            ("kms:Decrypt", "kms:GenerateDataKey"),
        )

    def _grant(
        self,
        grantee: iam.IGrantable,
        prefix: str,
        object_actions: Sequence[str],
        key_actions: Sequence[str],
    ) -> iam.Grant:
        with Problems(f"model store {self.node.id!r}") as problems:
            problems.matches("prefix", prefix, PREFIX_PATTERN, rule=PREFIX_RULE)
        grants = [
            iam.Grant.add_to_principal(
                grantee=grantee,
                actions=sorted(object_actions),
                # the objects of one prefix: which they are is the bucket's affair
                resource_arns=[f"{self._arn}/{prefix}*"],
            ),
            iam.Grant.add_to_principal(
                grantee=grantee,
                actions=list(_LIST_BUCKET),
                resource_arns=[self._arn],
                conditions={"StringLike": {"s3:prefix": f"{prefix}*"}},
            ),
            iam.Grant.add_to_principal(
                grantee=grantee,
                actions=sorted(key_actions),
                resource_arns=[self._key.key_arn],
            ),
        ]
        combined: Any = grants[0]
        for grant in grants[1:]:
            combined = combined.combine(grant)
        return combined  # type: ignore[no-any-return]
