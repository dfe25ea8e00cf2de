"""Help for tests of apps that use the constructs: templates as data, without noise.

Plain Python; a template is what ``aws_cdk.assertions.Template.to_json()`` returns or a
synthesized ``*.template.json`` holds.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from eks_inference.manifests import Manifest

MANIFEST_TYPE = "Custom::AWSCDK-EKS-KubernetesResource"
"""CloudFormation type of the resource that applies manifests to a cluster."""

_ASSET_HASH = re.compile(r"[0-9a-f]{64}")


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
