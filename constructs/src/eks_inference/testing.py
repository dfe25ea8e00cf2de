"""Help for tests of apps that use the constructs: a cluster, and templates as data.

A template is what ``aws_cdk.assertions.Template.to_json()`` returns or a synthesized
``*.template.json`` holds. Importing this module starts no CDK.
"""

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from eks_inference.manifests import Manifest

if TYPE_CHECKING:
    from aws_cdk import aws_eks_v2 as eks
    from constructs import Construct

MANIFEST_TYPE = "Custom::AWSCDK-EKS-KubernetesResource"
"""CloudFormation type of the resource that applies manifests to a cluster."""

_ASSET_HASH = re.compile(r"[0-9a-f]{64}")


def imported_cluster(scope: "Construct", name: str = "platform") -> "eks.ICluster":
    """Return a cluster that exists, to which manifests can be applied.

    Args:
        scope: Owner, such as the stack under test.
        name: Name of the cluster; also in the ids of what is defined for it, so that a
            test can have several. Default: ``platform``.
    """
    from aws_cdk import ArnFormat, Stack  # noqa: PLC0415 - only callers need CDK
    from aws_cdk import aws_eks_v2 as eks  # noqa: PLC0415
    from aws_cdk import aws_lambda as lambda_  # noqa: PLC0415

    stack = Stack.of(scope)
    bare = eks.Cluster.from_cluster_attributes(scope, f"{name}-bare", cluster_name=name)
    provider = eks.KubectlProvider(
        scope,
        f"{name}-kubectl",
        cluster=bare,
        # named, not packed: the real layer is 35 MB, which every test would copy
        kubectl_layer=lambda_.LayerVersion.from_layer_version_arn(
            scope,
            f"{name}-layer",
            stack.format_arn(
                service="lambda",
                resource="layer",
                resource_name="kubectl:1",
                arn_format=ArnFormat.COLON_RESOURCE_NAME,
            ),
        ),
    )
    return eks.Cluster.from_cluster_attributes(
        scope, name, cluster_name=name, kubectl_provider=provider
    )


def snapshot(template: Mapping[str, Any]) -> str:
    """Return a template as text that changes only when something real changes.

    Args:
        template: A CloudFormation template.
    """
    return json.dumps(without_asset_hashes(template), indent=2, sort_keys=True) + "\n"


def manifests(template: Mapping[str, Any]) -> dict[str, list[Manifest]]:
    """Return the Kubernetes objects of a template, by the logical id of their resource.

    What CloudFormation fills in later stands as ``${Name}``, ``${Name.Attribute}`` or
    ``${export}``. CDK's own prune labels are left out.

    Args:
        template: A CloudFormation template.
    """
    return {
        logical_id: [_without_prune_label(item) for item in json.loads(text)]
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] == MANIFEST_TYPE
        for text in [as_text(resource["Properties"]["Manifest"])]
    }


def as_text(value: object) -> str:
    """Return a string property with its references in ``${}``.

    Args:
        value: A text, or an intrinsic function that yields one.
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, dict) or len(value) != 1:
        return json.dumps(value)
    [(function, argument)] = value.items()
    match function:
        case "Fn::Join":
            separator, parts = argument
            return str(separator).join(as_text(part) for part in parts)
        case "Fn::GetAtt":
            return "${" + ".".join(argument) + "}"
        case "Ref" | "Fn::ImportValue":
            return "${" + as_text(argument) + "}"
        case _:
            return "${" + json.dumps(value).replace('"', "'") + "}"


def without_asset_hashes(value: Any) -> Any:
    """Return a template in which no asset's hash stands, for a snapshot.

    Args:
        value: A template, or a part of one.
    """
    match value:
        case str():
            return _ASSET_HASH.sub("<hash>", value)
        case Mapping():
            return {
                without_asset_hashes(key): without_asset_hashes(item)
                for key, item in value.items()
            }
        case list():
            return [without_asset_hashes(item) for item in value]
        case _:
            return value


def _without_prune_label(manifest: Manifest) -> Manifest:
    metadata = dict(manifest["metadata"])
    labels = {
        key: value
        for key, value in metadata.pop("labels", {}).items()
        if not key.startswith("aws.cdk.eks/prune-")
    }
    if labels:
        metadata["labels"] = labels
    return {**manifest, "metadata": metadata}
