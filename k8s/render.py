"""Every Kubernetes object of a synthesized app as YAML, for review or for GitOps.

    python -m k8s.render cdk.out build/manifests

One file for each resource that applies objects, named after its stack and logical id.
What CloudFormation fills in later stands as ``${...}``.
"""

import argparse
import json
from pathlib import Path

import cdk8s

from eks_inference.testing import manifests


def render(assembly: Path, target: Path) -> list[Path]:
    """Write the objects and return the files; what is no longer there is removed.

    Args:
        assembly: Folder that a synthesis has written.
        target: Folder of the files; made where it is missing.
    """
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for template in sorted(assembly.glob("*.template.json")):
        stack = template.name.removesuffix(".template.json")
        for stale in target.glob(f"{stack}-*.yaml"):
            stale.unlink()
        for logical_id, objects in manifests(json.loads(template.read_text())).items():
            file = target / f"{stack}-{logical_id}.yaml"
            file.write_text(cdk8s.Yaml.stringify(*objects))
            written.append(file)
    return written


def main() -> None:
    """Write the objects and name the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("assembly", type=Path, help="folder of the synthesis")
    parser.add_argument("target", type=Path, help="folder of the YAML files")
    arguments = parser.parse_args()
    if not any(arguments.assembly.glob("*.template.json")):
        parser.error(
            f"'assembly' must be a synthesized app, got {str(arguments.assembly)!r}; "
            "run 'make synth' first"
        )
    for file in render(arguments.assembly, arguments.target):
        print(file)


if __name__ == "__main__":
    main()
