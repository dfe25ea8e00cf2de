"""What outlives the deletion of a stage, and so keeps its price and its name."""

from collections.abc import Mapping
from typing import Any

_KEPT = {"Retain", "RetainExceptOnCreate"}
"""Deletion policies under which CloudFormation leaves a resource where it is."""


def retained(stacks: Mapping[str, Any]) -> list[str]:
    """Return a line for each resource that a deletion leaves behind.

    Args:
        stacks: Templates by the name of their stack.
    """
    return [
        f"  {stack:<12}{resource['Type']:<24}{logical_id}"
        for stack, template in stacks.items()
        for logical_id, resource in template["Resources"].items()
        if resource.get("DeletionPolicy") in _KEPT
    ]
