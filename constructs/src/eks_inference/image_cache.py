"""Public images, cached in the account's own registry."""

import json
from collections.abc import Sequence

from aws_cdk import ArnFormat, CfnResource, RemovalPolicy, Stack
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from eks_inference._check import Problems
from eks_inference.image import image_problems
from eks_inference.image_pull import ImagePulls

_PREFIX = r"(?=.{2,30}$)[a-z0-9]+([._-][a-z0-9]+)*"
_SECRET = r"ecr-pullthroughcache/[\w/+=.@-]+"  # noqa: S105 - a name, not a secret

_UNTAGGED_DAYS = 14


class ImageCache(Construct):
    """A pull-through cache for public ECR and, with credentials, for Docker Hub.

    Defines one pull-through cache rule and one repository creation template for each
    upstream. ECR never intercepts the name of a public image: a pod must name the
    cached repository, which ``image_uri`` returns. Tags are immutable, so that a pinned
    tag means one image even if the upstream moves it.

    Args:
        public_ecr_prefix: Prefix of the repositories that cache public ECR.
            Default: ``ecr-public``.
        docker_hub_secret_name: Name of the Secrets Manager secret, in this account
            and region, with ``username`` and ``accessToken`` of a Docker Hub account.
            ECR demands that it begins with ``ecr-pullthroughcache/``.
            Default: no cache for Docker Hub.
        docker_hub_prefix: Prefix of the repositories that cache Docker Hub.
            Default: ``docker-hub``.
        keep_images: Images that each repository keeps. Default: 10.
        removal_policy: ``DESTROY`` deletes the repositories that ``warm`` has filled
            together with the cache: ECR made them, and CloudFormation would leave them
            and their price. Default: ``RETAIN``, since pods may go on pulling from
            them.

    Raises:
        ConfigurationError: Values break rules; all of them are named, and nothing was
            defined.

    Example:
        ```python
        images = ImageCache(stack, "Images")
        images.grant_pull(role)
        vllm = {
            "repository": "deep-learning-containers/vllm",
            "tag": "0.31.0-gpu-py312-cu130-ubuntu24.04-ec2",
        }
        images.warm(**vllm)
        QueueScaledModel(
            stack, "Chat", pool=pool, model=model, image=images.image_uri(**vllm)
        )
        ```
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        public_ecr_prefix: str = "ecr-public",
        docker_hub_secret_name: str | None = None,
        docker_hub_prefix: str = "docker-hub",
        keep_images: int = 10,
        removal_policy: RemovalPolicy = RemovalPolicy.RETAIN,
    ) -> None:
        with Problems(f"image cache {id!r}") as problems:
            problems.include(
                _cache_problems(public_ecr_prefix, docker_hub_prefix, keep_images)
            )
            problems.instance("removal_policy", removal_policy, RemovalPolicy)
            if docker_hub_secret_name is not None:
                problems.matches(
                    "docker_hub_secret_name",
                    docker_hub_secret_name,
                    _SECRET,
                    rule="the name of a secret that begins with "
                    "'ecr-pullthroughcache/'",
                )
        super().__init__(scope, id)
        self._stack = Stack.of(self)
        self._public_ecr = public_ecr_prefix
        self._docker_hub = docker_hub_prefix if docker_hub_secret_name else None
        self._pulls: ImagePulls | None = None
        self._delete = removal_policy == RemovalPolicy.DESTROY
        self._parts: list[CfnResource] = [
            ecr.CfnPullThroughCacheRule(
                self,
                "PublicEcr",
                ecr_repository_prefix=public_ecr_prefix,
                upstream_registry="ecr-public",
                upstream_registry_url="public.ecr.aws",
            )
        ]
        if docker_hub_secret_name is not None:
            self._parts.append(
                ecr.CfnPullThroughCacheRule(
                    self,
                    "DockerHub",
                    ecr_repository_prefix=docker_hub_prefix,
                    upstream_registry="docker-hub",
                    upstream_registry_url="registry-1.docker.io",
                    credential_arn=self._stack.format_arn(
                        service="secretsmanager",
                        resource="secret",
                        resource_name=docker_hub_secret_name,
                        arn_format=ArnFormat.COLON_RESOURCE_NAME,
                    ),
                )
            )
        self._parts += [
            # neither tags nor a key of our own: both would need a role for ECR
            ecr.CfnRepositoryCreationTemplate(
                self,
                "PublicEcrTemplate"
                if prefix == public_ecr_prefix
                else "DockerHubTemplate",
                prefix=prefix,
                applied_for=["PULL_THROUGH_CACHE"],
                description="Repositories that a pull through the cache creates",
                image_tag_mutability="IMMUTABLE",
                lifecycle_policy=json.dumps(_lifecycle(keep_images)),
            )
            for prefix in self.prefixes
        ]

    @property
    def prefixes(self) -> list[str]:
        """Prefixes of the repositories that fill themselves."""
        return [self._public_ecr, *([self._docker_hub] if self._docker_hub else [])]

    @property
    def repository_arns(self) -> list[str]:
        """ARNs of the repositories that fill themselves, with a wildcard each."""
        return [
            self._stack.format_arn(
                service="ecr", resource="repository", resource_name=f"{prefix}/*"
            )
            for prefix in self.prefixes
        ]

    @property
    def log(self) -> logs.CfnLogGroup | None:
        """Log of the function that ``warm`` has defined, kept for 30 days.

        None before ``warm`` was called. It goes with the stack; an app that keeps its
        logs changes that here.
        """
        return self._pulls.log if self._pulls else None

    def image_uri(self, repository: str, *, tag: str, digest: str = "") -> str:
        """Return the name under which nodes pull an image of public ECR.

        Args:
            repository: Repository below ``public.ecr.aws``, such as
                ``deep-learning-containers/vllm``.
            tag: Tag.
            digest: Digest, which wins over the tag. ECR does not fetch by digest what
                it has never seen: ``warm`` pulls the tag before. Default: none.

        Raises:
            ConfigurationError: Values break rules; all of them are named.
        """
        return self._uri(self._public_ecr, repository, tag, digest)

    def docker_hub_image_uri(
        self, repository: str, *, tag: str, digest: str = ""
    ) -> str:
        """Return the name under which nodes pull an image of Docker Hub.

        Args:
            repository: Repository on Docker Hub, such as ``vllm/vllm-openai``.
            tag: Tag.
            digest: Digest, which wins over the tag. Default: none.

        Raises:
            ConfigurationError: The cache has no Docker Hub, or values break rules.
        """
        prefix = self._prefix(repository, docker_hub=True)
        return self._uri(prefix, repository, tag, digest)

    def warm(
        self, repository: str, *, tag: str, digest: str = "", docker_hub: bool = False
    ) -> CfnResource:
        """Pull an image through the cache when the stack is deployed.

        So that no node is the first: that pull is slow, and a node in a subnet without
        NAT cannot make it (Amazon ECR user guide, pull-through-cache). A function
        outside the VPC takes the manifest and each layer as a runtime does, keeps
        nothing, and waits until ECR lists the image, for 14 minutes at most; ECR may
        need longer for an image, and goes on then.

        The deployment fails when the upstream has no such tag, and when the tag has
        another digest than the one that is given.

        Returns:
            The resource, one for each repository. Its attribute ``Images`` says the
            tag and the digest of each image, and whether ECR has all of it.

        Args:
            repository: Repository below ``public.ecr.aws``, or on Docker Hub.
            tag: Tag. Another one is pulled by the next deployment; the images before
                it stay, up to ``keep_images``.
            digest: Digest that the tag must have. Default: any.
            docker_hub: Whether the image is on Docker Hub. Default: on public ECR.

        Raises:
            ConfigurationError: The cache has no Docker Hub, values break rules, or the
                tag has two digests.
        """
        name = f"{self._prefix(repository, docker_hub=docker_hub)}/{repository}"
        image = f"{tag}@{digest}" if digest else tag
        with Problems("image") as problems:
            problems.include(image_problems(repository, tag, digest))
            known = self._pulls.images(name) if self._pulls else ()
            others = [
                other
                for other in known
                if other != image and other.partition("@")[0] == tag
            ]
            if others:
                problems.broken(
                    f"'digest' must be the same wherever {repository}:{tag} is warmed "
                    f"({others[0]})",
                    image,
                )
        if self._pulls is None:
            self._pulls = ImagePulls(
                self, "Pulls", delete_repositories=self._delete, after=self._parts
            )
        # no repository has two dashes in a row, so that each has an id of its own
        upstream = "DockerHub" if docker_hub else "PublicEcr"
        scope = "--".join([upstream, *repository.split("/")])
        return self._pulls.add(scope, name, image)

    def grant_pull(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let nodes fill the cache by pulling; reading what is there is not included.

        Args:
            grantee: Role of the nodes, which has AmazonEC2ContainerRegistryPullOnly.
        """
        return iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["ecr:BatchImportUpstreamImage", "ecr:CreateRepository"],
            # which images the cache will hold is not known before they are pulled
            resource_arns=self.repository_arns,
        )

    def _prefix(self, repository: str, *, docker_hub: bool) -> str:
        if not docker_hub:
            return self._public_ecr
        with Problems(f"image cache {self.node.id!r}") as problems:
            if self._docker_hub is None:
                problems.add(
                    "'docker_hub_secret_name' must be given to pull from Docker Hub, "
                    f"got none for {repository!r}"
                )
        return str(self._docker_hub)

    def _uri(self, prefix: str, repository: str, tag: str, digest: str) -> str:
        with Problems("image") as problems:
            problems.include(image_problems(repository, tag, digest))
        stack = self._stack
        registry = f"{stack.account}.dkr.ecr.{stack.region}.{stack.url_suffix}"
        name = f"{registry}/{prefix}/{repository}:{tag}"
        return f"{name}@{digest}" if digest else name


def _cache_problems(
    public_ecr_prefix: object, docker_hub_prefix: object, keep_images: object
) -> list[str]:
    problems = Problems()
    rule = "a repository prefix (2 to 30 of a-z, 0-9 and single '.', '_' or '-')"
    problems.matches("public_ecr_prefix", public_ecr_prefix, _PREFIX, rule=rule)
    problems.matches("docker_hub_prefix", docker_hub_prefix, _PREFIX, rule=rule)
    if public_ecr_prefix == docker_hub_prefix:
        problems.broken(
            "'docker_hub_prefix' must differ from 'public_ecr_prefix'",
            docker_hub_prefix,
        )
    problems.integer("keep_images", keep_images, minimum=1)
    return problems.messages


def _lifecycle(keep_images: int) -> dict[str, Sequence[object]]:
    return {
        "rules": [
            {
                "rulePriority": 1,
                "description": "images that no tag names any more",
                "selection": {
                    "tagStatus": "untagged",
                    "countType": "sinceImagePushed",
                    "countUnit": "days",
                    "countNumber": _UNTAGGED_DAYS,
                },
                "action": {"type": "expire"},
            },
            {
                "rulePriority": 2,
                "description": "all but the newest versions",
                "selection": {
                    "tagStatus": "any",
                    "countType": "imageCountMoreThan",
                    "countNumber": keep_images,
                },
                "action": {"type": "expire"},
            },
        ]
    }
