"""Last-moment changes to rendered objects, by kind."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import cdk8s

from eks_inference._check import Problems
from eks_inference.manifests import Manifest

JsonPatches: TypeAlias = Mapping[str, Sequence[cdk8s.JsonPatch]]
"""Patches (RFC 6902) for the objects of a construct, by the object's kind."""


def patched(manifests: Sequence[Manifest], patches: JsonPatches) -> list[Manifest]:
    """Return the objects with the patches of their kind applied.

    Args:
        manifests: Objects of a construct, of different kinds.
        patches: Patches by kind.
    """
    return [
        cdk8s.JsonPatch.apply(manifest, *patches[manifest["kind"]])
        if patches.get(manifest["kind"])
        else manifest
        for manifest in manifests
    ]


def patch_problems(patches: JsonPatches, kinds: Sequence[str]) -> list[str]:
    """Return what is wrong with patches for objects of these kinds."""
    problems = Problems()
    if not isinstance(patches, Mapping):
        problems.broken("'json_patches' must map kinds to patches", patches)
        return problems.messages
    for kind, changes in patches.items():
        problems.one_of(
            "json_patches", kind, kinds, repair="name a kind by its patches"
        )
        if problems.sequence(f"json_patches[{kind!r}]", changes):
            for change in changes:
                problems.instance(f"json_patches[{kind!r}]", change, cdk8s.JsonPatch)
    return problems.messages
