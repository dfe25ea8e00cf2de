"""The stage dev is deployed into an empty account and deleted again, by the CDK CLI.

The tests follow each other: what one has deployed, the next looks at.
"""

import json
from collections import Counter
from typing import Any

import pytest
from moto.cloudformation import parsing

from tests.rehearsal.account import Account
from tests.rehearsal.calls import CALLS
from tests.rehearsal.conftest import Summary
from tests.rehearsal.inventory import LISTS, Inventory, added, inventory

STACKS = ("Network", "Registry", "Cluster", "Platform", "Storage", "Serving")

WITHOUT_RESOURCE = {
    "AWS::EC2::RouteTable": 1,
    "AWS::EC2::SecurityGroup": 2,
}
"""What a deployment makes that no template names: the main route table and the default
group of the VPC, and the group that EKS makes for its cluster."""

TAG = {"Key": "eks-inference:stage", "Values": ["dev"]}


@pytest.fixture(scope="module")
def templates(account: Account) -> dict[str, Any]:
    """The templates of the stage."""
    return {
        stack: json.loads((account.assembly / f"{stack}.template.json").read_text())
        for stack in STACKS
    }


@pytest.fixture(scope="module")
def kinds(templates: dict[str, Any]) -> Counter[str]:
    """How many resources of each type the stage has."""
    return Counter(
        resource["Type"]
        for template in templates.values()
        for resource in template["Resources"].values()
    )


@pytest.fixture(scope="module")
def empty(account: Account) -> Inventory:
    """What the account holds before the deployment."""
    return inventory(account.client)


@pytest.fixture(scope="module")
def deployed(account: Account, empty: Inventory) -> Inventory:
    """What the account holds after the deployment."""
    assert empty["AWS::CloudFormation::Stack"] == {"CDKToolkit"}
    # moto does not register what change sets export
    account.cdk("deploy", "--all", "--method", "direct", "--require-approval", "never")
    return inventory(account.client)


def what_becomes_of(kind: str) -> str:
    """Return what the emulator does with a type of resource."""
    if kind.startswith("Custom::"):
        return "stands in: its function is not run"
    if kind in CALLS:
        unmade = CALLS[kind].unmade
        return f"only checked: {unmade}" if unmade else "made by its API"
    return "made by CloudFormation" if kind in parsing.get_model_map() else "unknown"


def test_every_type_is_known(kinds: Counter[str]) -> None:
    """No type of resource is silently dropped; a row in calls.py adds one."""
    assert not [kind for kind in kinds if what_becomes_of(kind) == "unknown"]


def test_every_stack_is_complete(
    account: Account, templates: dict[str, Any], deployed: Inventory
) -> None:
    """Each stack is complete, and each resource of its template is among its own."""
    assert deployed["AWS::CloudFormation::Stack"]
    formation = account.client("cloudformation")
    for stack, template in templates.items():
        name = f"inference-dev-{stack.lower()}"
        (found,) = formation.describe_stacks(StackName=name)["Stacks"]
        assert found["StackStatus"] == "CREATE_COMPLETE"
        assert {"Key": "eks-inference:stage", "Value": "dev"} in found["Tags"]
        resources = formation.describe_stack_resources(StackName=name)["StackResources"]
        kinds = {item["LogicalResourceId"]: item["ResourceType"] for item in resources}
        assert kinds == {
            logical_id: resource["Type"]
            for logical_id, resource in template["Resources"].items()
        }


@pytest.mark.parametrize("kind", sorted(set(LISTS) - {"AWS::CloudFormation::Stack"}))
def test_services_list_what_was_made(
    kind: str, kinds: Counter[str], empty: Inventory, deployed: Inventory
) -> None:
    """Each service lists as many resources as the templates name, and no other."""
    if kind == "AWS::EC2::NetworkInterface":
        # of endpoints, mount targets and the NAT gateway
        assert len(deployed[kind]) > len(empty[kind])
        return
    more = added(empty, deployed).get(kind, [])
    assert len(more) == kinds[kind] + WITHOUT_RESOURCE.get(kind, 0)


def test_cluster_is_private(account: Account, deployed: Inventory) -> None:
    """EKS got a private cluster with encrypted secrets and all of its logs."""
    assert deployed["AWS::EKS::Cluster"] == {"inference-dev"}
    cluster = account.client("eks").describe_cluster(name="inference-dev")["cluster"]
    assert cluster["resourcesVpcConfig"]["endpointPublicAccess"] is False
    assert cluster["resourcesVpcConfig"]["endpointPrivateAccess"] is True
    assert cluster["encryptionConfig"][0]["resources"] == ["secrets"]
    (logging,) = cluster["logging"]["clusterLogging"]
    assert logging["enabled"]
    assert len(logging["types"]) == 5


def test_karpenter_finds_its_subnets(account: Account, deployed: Inventory) -> None:
    """The tag that a node class selects by is on one private subnet of each zone."""
    assert deployed["AWS::EC2::Subnet"]
    found = account.client("ec2").describe_subnets(
        Filters=[{"Name": "tag:karpenter.sh/discovery", "Values": ["inference-dev"]}]
    )["Subnets"]
    assert len(found) == len({subnet["AvailabilityZone"] for subnet in found}) == 3
    assert not any(subnet["MapPublicIpOnLaunch"] for subnet in found)


def test_second_deployment_changes_nothing(
    account: Account, deployed: Inventory
) -> None:
    """What was deployed is what is synthesized, and a second deployment says so."""
    assert deployed["AWS::CloudFormation::Stack"]
    output = account.cdk("diff", "--method", "template", "--fail")
    assert "Number of stacks with differences: 0" in output
    output = account.cdk(
        "deploy", "--all", "--method", "direct", "--require-approval", "never"
    )
    assert output.count("(no changes)") == len(STACKS)
    assert inventory(account.client) == deployed


def test_sweep_leaves_a_stage_alone(account: Account, deployed: Inventory) -> None:
    """A stage that is deployed is not swept."""
    assert deployed["AWS::CloudFormation::Stack"]
    status, output = account.attempt("eks-inference", "sweep", "--stage", "dev")
    assert status == 2
    assert "'cluster' 'inference-dev' must be gone" in output


def test_destroy_leaves_nothing(
    account: Account,
    kinds: Counter[str],
    empty: Inventory,
    deployed: Inventory,
    summary: Summary,
) -> None:
    """The deletion leaves what bootstrapping made, and nothing else, tagged or not."""
    account.cdk("destroy", "--all", "--force")
    assert added(empty, inventory(account.client)) == {}
    tagged = account.client("resourcegroupstaggingapi").get_resources(TagFilters=[TAG])
    # EC2 lists a deleted NAT gateway for an hour; the inventory has seen its state
    arns = [found["ResourceARN"] for found in tagged["ResourceTagMappingList"]]
    assert not [arn for arn in arns if ":natgateway/" not in arn]
    made = sum(len(names) for names in added(empty, deployed).values())
    for kind, count in sorted(kinds.items()):
        summary.append(f"{count:>3} {kind:<40}{what_becomes_of(kind)}")
    summary.append(f"{len(STACKS)} stacks deployed and deleted; {made} things listed")


def test_sweep_finds_nothing(account: Account) -> None:
    """After a deletion a sweep finds nothing."""
    assert account.client("eks").list_clusters()["clusters"] == []
    status, output = account.attempt("eks-inference", "sweep", "--stage", "dev")
    assert status == 0, output
