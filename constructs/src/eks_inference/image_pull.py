"""What pulls an image through a cache when a stack is deployed.

The first pull of an image is slow, and needs a way to the upstream registry that nodes
may not have. It is made by a function outside the VPC, once.
"""

from collections.abc import Sequence

from aws_cdk import CfnResource, Names, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from eks_inference._handler_function import (
    ANSWER_LIMIT_SECONDS,
    handler_function,
    handler_log,
    in_this_region,
    policy_document,
)

IMAGE_PULL_TYPE = "Custom::EksInferenceImagePull"
"""CloudFormation type of the resource, one for each repository."""

_PULL = (
    "ecr:BatchGetImage",
    "ecr:BatchImportUpstreamImage",
    "ecr:CreateRepository",
    "ecr:DescribeImages",
    "ecr:GetDownloadUrlForLayer",
)
"""Actions of a first pull, and of asking whether it is complete (Amazon ECR user guide,
pull-through-cache-iam; service authorization reference)."""

_DELETE = ("ecr:DeleteRepository",)

_MEMORY_MIB = 1_769
"""At which a function has a whole CPU (AWS Lambda developer guide, memory): layers of
some 10 GB may go through it, decrypted and thrown away, 15 minutes at most."""


class ImagePulls(Construct):
    """The function that pulls, and its log.

    Args:
        delete_repositories: Whether what was filled is deleted with its resource.
        after: What must exist before a pull, and be deleted after it.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        delete_repositories: bool,
        after: Sequence[CfnResource],
    ) -> None:
        super().__init__(scope, id)
        self._delete, self._after = delete_repositories, after
        self._repositories: dict[str, tuple[CfnResource, list[str]]] = {}
        self._function: lambda_.CfnFunction = handler_function(
            self,
            handler="image_pull",
            description="Pulls images through the cache before a node needs them",
            purpose="Pulls images through the cache when it is deployed",
            policy_name="Registry",
            memory_mib=_MEMORY_MIB,
            statements=[
                {
                    # a token opens the registry, whatever is in it: there is no
                    # resource (service authorization reference), but one region
                    "Action": "ecr:GetAuthorizationToken",
                    "Resource": "*",
                    "Condition": in_this_region(),
                }
            ],
        )

    @property
    def log(self) -> logs.CfnLogGroup:
        """Log of the function."""
        return handler_log(self)

    def add(self, id: str, repository: str, image: str) -> CfnResource:
        """Return the resource of a repository, whose deployment pulls the image, too.

        Args:
            id: Construct id of the repository.
            repository: Name of the repository, prefix included.
            image: Tag, with its digest after ``@`` where that is known.
        """
        if repository not in self._repositories:
            self._repositories[repository] = self._repository(id, repository), []
        resource, images = self._repositories[repository]
        if image not in images:
            images.append(image)
            resource.add_property_override("Images", images)
        return resource

    def images(self, repository: str) -> Sequence[str]:
        """Return the images of a repository that are pulled."""
        known = self._repositories.get(repository)
        return known[1] if known else ()

    def _repository(self, id: str, repository: str) -> CfnResource:
        scope = Construct(self, id)
        role = self.node.find_child("Role")
        assert isinstance(role, iam.CfnRole)
        policy = iam.CfnPolicy(
            scope,
            "Policy",
            policy_name=Names.unique_resource_name(scope, max_length=128),
            roles=[role.ref],
            policy_document=policy_document(
                {
                    "Action": [*_PULL, *(_DELETE if self._delete else ())],
                    "Resource": Stack.of(self).format_arn(
                        service="ecr", resource="repository", resource_name=repository
                    ),
                }
            ),
        )
        resource = CfnResource(
            scope,
            "Images",
            type=IMAGE_PULL_TYPE,
            properties={
                "ServiceToken": self._function.attr_arn,
                "ServiceTimeout": ANSWER_LIMIT_SECONDS,
                "Repository": repository,
                "DeleteRepository": self._delete,
            },
        )
        resource.node.add_dependency(policy, *self._after)
        return resource
