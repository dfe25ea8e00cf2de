"""The page for whoever runs a stage: its numbers and names are those of the stage."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from eks_inference.inference_endpoints import INTERFACE_SERVICES
from eks_inference.planning.cost import HOURS_PER_MONTH, INTERFACE_USD_PER_HOUR
from eks_inference.planning.instances import INSTANCE_TYPES
from infra.stages import load
from tests.app.conftest import (
    ROOT,
    Templates,
    objects,
    of_kind,
    only,
    resources,
    stage_templates,
)

PAGE = (ROOT / "docs" / "day2.md").read_text()

SYSTEM_NODE_USD = {"m6i.large": 0.096}
"""On-demand price in us-east-1 (aws/karpenter-provider-aws@031e72b,
pkg/providers/pricing/zz_generated.pricing_aws.go)."""


def section(title: str) -> str:
    """Return a section of the page."""
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def rows(title: str) -> Iterator[list[str]]:
    """Yield the cells of each row of the table in a section."""
    for line in section(title).splitlines():
        if line.startswith("| ") and not line.startswith(
            ("| what", "| alarm", "| end")
        ):
            yield [cell.strip() for cell in line.strip("|").split("|")]


@pytest.fixture
def known() -> Templates:
    """The default stage in an account, which gives it all its zones."""
    return stage_templates("dev", "111122223333", "us-east-1")


def counted(templates: Templates) -> dict[str, tuple[float, float]]:
    """Return number and hourly price of everything that a stage pays for at rest."""
    settings = load("dev")
    group = only(templates["Cluster"], "AWS::EKS::Nodegroup")
    [kind] = group["InstanceTypes"]
    nodes = group["ScalingConfig"]["DesiredSize"]
    gpu_nodes, gpu_kind, gpu_usd = cheapest()
    network = templates["Network"]
    endpoints = [
        len(endpoint["SubnetIds"])
        for endpoint in resources(network, "AWS::EC2::VPCEndpoint").values()
        if endpoint["VpcEndpointType"] == "Interface"
    ]
    keys = [
        key
        for template in templates.values()
        for key in resources(template, "AWS::KMS::Key")
    ]
    launched = only(templates["Cluster"], "AWS::EC2::LaunchTemplate")
    system = launched["LaunchTemplateData"]["BlockDeviceMappings"]
    gpu = of_kind(templates, "EC2NodeClass")[settings.pools[0].name]["spec"]
    gigabytes = nodes * sum(int(item["Ebs"]["VolumeSize"]) for item in system)
    gigabytes += gpu_nodes * sum(
        int(item["ebs"]["volumeSize"].removesuffix("Gi"))
        for item in gpu["blockDeviceMappings"]
    )
    return {
        "EKS control plane": (
            len(resources(templates["Cluster"], "AWS::EKS::Cluster")),
            0.10,
        ),
        f"system node, `{kind}`": (nodes, SYSTEM_NODE_USD[kind]),
        f"GPU node, `{gpu_kind}` on demand": (gpu_nodes, gpu_usd),
        "NAT gateway": (len(resources(network, "AWS::EC2::NatGateway")), 0.045),
        "its public address": (len(resources(network, "AWS::EC2::EIP")), 0.005),
        "interface endpoint in a zone": (sum(endpoints), INTERFACE_USD_PER_HOUR),
        "KMS key": (len(keys), 1 / HOURS_PER_MONTH),
        "GB of nodes' volumes, gp3": (gigabytes, 0.08 / HOURS_PER_MONTH),
    }


def cheapest() -> tuple[int, str, float]:
    """Return how many nodes the stage has at rest, and the cheapest that will do."""
    settings = load("dev")
    [pool], [model] = settings.pools, settings.models
    assert pool.headroom_nodes == 0
    prices = {
        item.name: item.usd_per_hour
        for item in INSTANCE_TYPES
        if item.accelerator.name.lower() in pool.accelerators
        and item.gpus == pool.gpus_per_node
        and item.allocatable_cpu >= model.cpu
        and item.allocatable_memory_mib >= model.memory_gib * 1024
        and item.usd_per_hour is not None
    }
    name = min(prices, key=lambda name: prices[name] or 0)
    return model.min_replicas, name, prices[name] or 0


def test_page_counts_what_is_paid_for(known: Templates) -> None:
    """Each row of the page has the number, the price and the product of the stage."""
    shown: dict[str, Any] = {}
    for what, number, price, per_hour in rows("What it costs when nobody asks"):
        found = re.search(r"\[([\d.]+) an? (hour|month)\]", price)
        assert found, price
        usd = float(found[1]) / (HOURS_PER_MONTH if found[2] == "month" else 1)
        shown[what] = (float(number), usd, per_hour)
    expected = {
        what: (number, usd, f"{number * usd:.4f}")
        for what, (number, usd) in counted(known).items()
    }
    assert shown == expected


def test_page_adds_up(known: Templates) -> None:
    """The page has the sum of an hour, of a month, and without the GPU."""
    parts = counted(known)
    total = sum(number * usd for number, usd in parts.values())
    gpu = sum(
        number * usd for what, (number, usd) in parts.items() if what.startswith("GPU")
    )
    text = (
        f"**{total:.2f} USD per hour, {total * HOURS_PER_MONTH:.0f} a month; "
        f"{total - gpu:.2f} without the GPU node.**"
    )
    assert text in PAGE


def test_every_paid_type_is_counted(known: Templates) -> None:
    """A kind of resource that is new in the stage and costs by the hour is noticed."""
    paid = {
        "AWS::EC2::EIP",
        "AWS::EC2::NatGateway",
        "AWS::EC2::VPCEndpoint",
        "AWS::EFS::FileSystem",
        "AWS::EKS::Cluster",
        "AWS::EKS::Nodegroup",
        "AWS::KMS::Key",
        "AWS::S3::Bucket",
        "AWS::CloudWatch::Alarm",
    }
    by_the_hour = re.compile(
        r"AWS::(RDS|ElastiCache|MSK|ElasticLoadBalancing\w*|Grafana|APS|Route53\w*|"
        r"NetworkFirewall|SecretsManager|GlobalAccelerator|CloudWatch|KMS|EKS|EFS|S3)"
        r"::\w+|AWS::EC2::(EIP|NatGateway|VPCEndpoint|TransitGateway\w*|Instance|Volume)"
    )
    free = {
        "AWS::EKS::AccessEntry",
        "AWS::EKS::Addon",
        "AWS::EKS::PodIdentityAssociation",
        "AWS::EFS::AccessPoint",
        "AWS::EFS::MountTarget",
        "AWS::S3::BucketPolicy",
    }
    found = {
        resource["Type"]
        for template in known.values()
        for resource in template["Resources"].values()
        if by_the_hour.fullmatch(resource["Type"])
    }
    assert found - free == paid
    alarms = resources(known["Platform"], "AWS::CloudWatch::Alarm")
    assert len(alarms) == 3


def test_page_names_every_alarm(known: Templates) -> None:
    """The page has each alert that the stage installs, and leads to its section."""
    installed = {
        rule["alert"]
        for item in of_kind(known, "PrometheusRule").values()
        for group in item["spec"]["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    shown = {row[0] for row in rows("What an alarm means")}
    assert shown == {f"[{name}](runbooks.md#{name.lower()})" for name in installed}


def test_page_names_every_endpoint() -> None:
    """The page has each interface endpoint that a stage can have."""
    shown = [
        name
        for row in rows("Go private")
        for name in re.findall(r"`([\w.-]+)`", row[0])
    ]
    assert sorted(shown) == sorted(INTERFACE_SERVICES)
    assert load("prod").network.interface_endpoints == INTERFACE_SERVICES


def test_page_labels_the_namespace_of_a_team(known: Templates) -> None:
    """The label that the page gives to a team's namespace is the one that opens."""
    [policy] = [
        item
        for item in objects(known)
        if item["kind"] == "NetworkPolicy" and item["metadata"]["name"] == "models"
    ]
    labels = [
        source["namespaceSelector"]["matchLabels"]
        for rule in policy["spec"]["ingress"]
        for source in rule["from"]
        if "namespaceSelector" in source
    ]
    [(key, value)] = re.findall(
        r"kubectl label namespace team-a ([\w./-]+)=(\w+)", PAGE
    )
    assert {key: value} in labels
