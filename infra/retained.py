"""What outlives the deletion of a stage, and so keeps its price and its name."""

from collections.abc import Iterator, Mapping
from typing import Any

from eks_inference.image_pull import IMAGE_PULL_TYPE

_KEPT = {"Retain", "RetainExceptOnCreate"}
"""Deletion policies under which CloudFormation leaves a resource where it is."""


def retained(stacks: Mapping[str, Any]) -> list[str]:
    """Return a line for each resource that a deletion leaves behind.

    Args:
        stacks: Templates by the name of their stack.
    """
    return [
        f"  {stack:<12}{kind:<24}{name}"
        for stack, template in stacks.items()
        for kind, name in _kept(template["Resources"])
    ]


def _kept(resources: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for logical_id, resource in resources.items():
        if resource.get("DeletionPolicy") in _KEPT:
            yield resource["Type"], logical_id
        elif resource["Type"] == IMAGE_PULL_TYPE:
            properties = resource["Properties"]
            if not properties["DeleteRepository"]:
                # ECR has made it, so that it is no resource of the stack
                yield "AWS::ECR::Repository", properties["Repository"]
