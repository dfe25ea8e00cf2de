"""How plain data becomes a cdk8s chart."""

from collections.abc import Iterable

import cdk8s

from eks_inference.manifests import Manifest


def new_chart(name: str) -> cdk8s.Chart:
    """Return an empty chart in an app of its own, so that charts cannot collide."""
    return cdk8s.Chart(cdk8s.App(), name)


def add(chart: cdk8s.Chart, manifests: Iterable[Manifest]) -> None:
    """Add objects that cdk8s-plus has no class for, or would not render faithfully."""
    for manifest in manifests:
        parts = dict(manifest)
        metadata = dict(parts.pop("metadata"))
        kind = parts.pop("kind")
        obj = cdk8s.ApiObject(
            chart,
            f"{kind}-{metadata.get('namespace', 'cluster')}-{metadata['name']}",
            api_version=parts.pop("apiVersion"),
            kind=kind,
            metadata=cdk8s.ApiObjectMetadata(**metadata),
        )
        for key, value in parts.items():
            obj.add_json_patch(cdk8s.JsonPatch.add(f"/{key}", value))


def rendered(chart: cdk8s.Chart) -> list[Manifest]:
    """Return the objects of a chart as plain data."""
    return list(chart.to_json())
