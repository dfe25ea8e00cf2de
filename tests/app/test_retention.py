"""What outlives a stack and what goes with it."""

from infra.stages import load
from tests.app.conftest import Templates, resources, synthesis

STATEFUL = {
    "AWS::EFS::FileSystem",
    "AWS::KMS::Key",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
}


def test_production_keeps_its_data(prod: Templates) -> None:
    """Data, keys and logs of production outlive its stacks, once they were made."""
    kept = {"RetainExceptOnCreate", "Retain"}
    assert deletion_policies(prod) == dict.fromkeys(STATEFUL, kept)


def test_failed_first_deployment_leaves_nothing_in_the_way(prod: Templates) -> None:
    """What production keeps goes with a creation that fails, names included."""
    found = {
        (resource["DeletionPolicy"], resource["UpdateReplacePolicy"])
        for template in prod.values()
        for resource in template["Resources"].values()
        if resource["Type"] in STATEFUL
    }
    assert found == {("RetainExceptOnCreate", "Retain")}


def test_development_leaves_nothing(dev: Templates) -> None:
    """Data, keys and logs of development go with its stacks, objects included."""
    assert deletion_policies(dev) == {key: {"Delete"} for key in STATEFUL}
    assert resources(dev["Storage"], "Custom::S3AutoDeleteObjects")


def test_production_is_protected() -> None:
    """Production's stacks cannot be deleted by accident, and development's can."""
    assert set(synthesis(load("prod")).protected.values()) == {True}
    assert set(synthesis(load("dev")).protected.values()) == {False}


def deletion_policies(templates: Templates) -> dict[str, set[str]]:
    """Return what happens to stateful resources, by type."""
    found: dict[str, set[str]] = {}
    for template in templates.values():
        for resource in template["Resources"].values():
            if resource["Type"] in STATEFUL:
                policy = found.setdefault(resource["Type"], set())
                policy |= {resource["DeletionPolicy"], resource["UpdateReplacePolicy"]}
    return found
