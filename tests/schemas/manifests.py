"""Validates rendered manifests as strictly as an API server would."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import kubernetes_validate.utils  # type: ignore[import-untyped]
from jsonschema import Draft202012Validator, ValidationError

from tests.schemas.cel import declared_rules, own_rules
from tests.schemas.crds import CrdSchemas

# Unpatched, a megabyte of definitions is parsed again for every manifest.
kubernetes_validate.utils.schema_contents = cache(
    kubernetes_validate.utils.schema_contents
)


def problems(
    manifest: Mapping[str, Any], *, kubernetes_version: str, crds: CrdSchemas
) -> list[str]:
    """Everything wrong with one manifest; an unknown kind is wrong too."""
    data: dict[str, Any] = json.loads(json.dumps(manifest, default=dict))
    api_version, kind = data.get("apiVersion"), data.get("kind")
    if not isinstance(api_version, str) or not isinstance(kind, str):
        return ["apiVersion and kind: both are required"]
    schema = crds.find(api_version, kind)
    if schema is None:
        found = list(_built_in(data, kubernetes_version))
    else:
        found = list(_custom(data, schema, kubernetes_version))
        if not found:  # the rules rely on the structure
            evaluated = f"{api_version}/{kind}" in crds.with_rules
            found = list(declared_rules(schema, data) if evaluated else own_rules(data))
    if not found and not (data.get("metadata") or {}).get("name"):
        found.append("metadata.name: required field is missing")
    return list(dict.fromkeys(found))


def _built_in(data: dict[str, Any], version: str) -> Iterator[str]:
    if version not in _versions():  # it would silently take an older one
        raise ValueError(f"there are no schemas for Kubernetes {version}")
    try:
        kubernetes_validate.validate(data, version, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        kind = f"{data['apiVersion']} {data['kind']}"
        yield f"kind: {kind} is neither a known custom resource nor in {version}"
    except kubernetes_validate.ValidationError as error:
        yield from _readable(error)


@cache
def _versions() -> frozenset[str]:
    """The Kubernetes versions that there are schemas for, such as 1.35."""
    known = kubernetes_validate.utils.all_versions()
    return frozenset(version.rpartition(".")[0] for version in known)


def _custom(
    data: dict[str, Any], schema: dict[str, Any], version: str
) -> Iterator[str]:
    # A CRD only says that metadata is an object, so a built-in kind checks it.
    metadata = data.get("metadata") or {}
    carrier = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    yield from _built_in(carrier, version)
    checked = {**schema, "properties": {**schema["properties"], "metadata": {}}}
    for error in Draft202012Validator(checked).iter_errors(data):
        yield from _readable(error)


def _readable(error: ValidationError) -> Iterator[str]:
    steps = (f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path)
    path = "".join(steps).lstrip(".")
    prefix = f"{path}." if path else ""
    rule: Any = error.validator_value
    schema: Any = error.schema
    instance: Any = error.instance
    if error.validator == "additionalProperties" and rule is False:
        for name in set(instance) - set(schema.get("properties", {})):
            yield f"{prefix}{name}: unknown field"
    elif error.validator == "required":
        for name in rule:
            if name not in instance:
                yield f"{prefix}{name}: required field is missing"
    else:
        yield f"{path}: {error.message}"
