"""What a synthesis has made, for a reader: ``python -m infra.summary cdk.out``."""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from eks_inference.manifests import APP_NAME, POOL_LABEL, SERVING_APP, Manifest
from eks_inference.manifests.scaling import INTERCEPTOR_PORT
from eks_inference.manifests.serving import PORT
from eks_inference.testing import as_text, manifests
from infra.retained import retained

_RELEASE = "Custom::AWSCDK-EKS-HelmChart"


def summary(assembly: Path) -> list[str]:
    """Return the lines of the summary.

    Args:
        assembly: Folder that a synthesis has written.
    """
    stacks = _stacks(assembly)
    lines = ["Stacks, in the order of deployment:"]
    kinds: Counter[str] = Counter()
    releases: list[str] = []
    models: list[str] = []
    for stack, template in stacks.items():
        resources = template["Resources"]
        size = len(json.dumps(template, separators=(",", ":")))
        lines.append(f"  {stack:<12}{len(resources):>4} resources {size // 1024:>4} KB")
        for resource in resources.values():
            if resource["Type"] == _RELEASE:
                properties = resource["Properties"]
                releases.append(
                    f"  {properties['Release']:<24}{as_text(properties['Version'])}"
                )
        for objects in manifests(template).values():
            kinds.update(item["kind"] for item in objects)
            models += _models(objects)
    lines += ["Helm releases:", *releases]
    lines += ["Kubernetes objects:"]
    lines += [f"  {kind:<28}{count:>3}" for kind, count in sorted(kinds.items())]
    lines += ["Models:", *models]
    kept = retained(stacks) or ["  nothing"]
    return [*lines, "Left behind when the stage is deleted:", *kept]


def _stacks(assembly: Path) -> dict[str, Any]:
    artifacts = json.loads((assembly / "manifest.json").read_text())["artifacts"]
    return {
        name: json.loads(
            (assembly / artifact["properties"]["templateFile"]).read_text()
        )
        for name, artifact in artifacts.items()
        if artifact["type"] == "aws:cloudformation:stack"
    }


def _models(objects: list[Manifest]) -> list[str]:
    lines = []
    for item in objects:
        metadata = item["metadata"]
        is_model = metadata.get("labels", {}).get(APP_NAME) == SERVING_APP
        if item["kind"] != "Deployment" or not is_model:
            continue
        pool = item["spec"]["template"]["spec"]["nodeSelector"][POOL_LABEL]
        name, port = metadata["name"], PORT
        for other in objects:
            if other["kind"] == "Service" and "externalName" in other["spec"]:
                # a request can wake the model, through the interceptor
                name, port = other["metadata"]["name"], INTERCEPTOR_PORT
        address = f"http://{name}.{metadata['namespace']}.svc:{port}/v1"
        lines.append(f"  {metadata['name']:<24}{address}  on pool {pool}")
    return lines


def main() -> None:
    """Print the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("assembly", type=Path, help="folder of the synthesis")
    assembly = parser.parse_args().assembly
    if not (assembly / "manifest.json").is_file():
        parser.error(
            f"'assembly' must be a synthesized app, got {str(assembly)!r}; "
            "run 'make synth' first"
        )
    print("\n".join(summary(assembly)))


if __name__ == "__main__":
    main()
