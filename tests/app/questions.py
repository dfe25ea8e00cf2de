"""Questions to a synthesis that tests of several topics ask."""

from typing import Any

from eks_inference.manifests import Manifest
from eks_inference.testing import as_text
from tests.app.conftest import Templates, of_kind, resources

SUBNET = "AWS::EC2::Subnet"


def private_subnets(network: Any) -> list[str]:
    """Return the logical ids of the subnets without a way in."""
    kind = {"Key": "aws-cdk:subnet-type", "Value": "Private"}
    return [
        name
        for name, subnet in resources(network, SUBNET).items()
        if kind in subnet["Tags"]
    ]


def exported(template: Any, references: list[str]) -> list[str]:
    """Return, as texts, the imports of what a template exports of its resources."""
    exports = {
        as_text(output["Value"]): output["Export"]["Name"]
        for output in template["Outputs"].values()
        if "Export" in output
    }
    return [f"${{{exports[f'${{{item}}}']}}}" for item in references]


def pod(templates: Templates, name: str) -> Manifest:
    """Return the pod of a model."""
    spec: Manifest = of_kind(templates, "Deployment")[name]["spec"]
    found: Manifest = spec["template"]["spec"]
    return found


def container(templates: Templates, name: str) -> Manifest:
    """Return the only container of a model's pod."""
    found: Manifest
    [found] = pod(templates, name)["containers"]
    return found
