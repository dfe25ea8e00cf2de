"""Tests of what a snapshot is made with, and of the one that exists."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from eks_inference import ConfigurationError
from eks_inference.account.image_snapshot import (
    DEFAULT_RELEASE,
    SnapshotRequest,
    instance_tags,
    kubelet_name,
    snapshot_tags,
)
from eks_inference.account.session import Account
from eks_inference.account.snapshot_plan import (
    PLAN_ACTIONS,
    Snapshot,
    SnapshotPlan,
    plan_snapshot,
)
from tests.account.conftest import IMAGE, REGION, pool_needs, refuse
from tests.account.leftover_account import specification, tag_list
from tests.account.snapshot_account import (
    CLUSTER,
    DIGEST,
    MINE,
    PROFILE,
    VLLM,
    Host,
    Network,
    answer_cluster,
    make_stage,
)

DEV: Mapping[str, Any] = {"stage": "dev", "images": (VLLM, MINE)}
PINNED = "an image with its registry, and a tag other than 'latest' or a digest"


@pytest.fixture
def stage(account: Account, tmp_path: Path) -> tuple[Host, Network]:
    """A stage, and the instance that would pull."""
    return make_stage(account, tmp_path)


def planned(account: Account, **values: Any) -> SnapshotPlan:
    """Return the plan of a snapshot of the stage."""
    return plan_snapshot(account, SnapshotRequest(**{**DEV, **values}))


def problems(account: Account, **values: Any) -> tuple[str, ...]:
    """Return why a snapshot cannot be planned."""
    with pytest.raises(ConfigurationError) as error:
        planned(account, **values)
    return error.value.problems


def snapshot(account: Account, changes: Mapping[str, str] | None = None) -> str:
    """Make a snapshot with the tags of one of the stage, some of them changed."""
    ec2 = account.client("ec2")
    volume = ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=200)["VolumeId"]
    tags = {**snapshot_tags(SnapshotRequest(**DEV)), **(changes or {})}
    made = ec2.create_snapshot(VolumeId=volume, **specification("snapshot", tags))
    return str(made["SnapshotId"])


def test_plan_finds_everything_and_changes_nothing(
    account: Account, stage: tuple[Host, Network]
) -> None:
    """The network, the image and the profile are the cluster's; only reads are made."""
    host, network = stage
    plan = planned(account)
    assert plan.kubernetes == "1.35"
    assert plan.ami == IMAGE
    assert plan.subnet == network.subnet
    assert plan.security_groups == (network.group,)
    assert plan.instance_profile == PROFILE
    assert (plan.existing, plan.left) == (None, ())
    assert set(host.calls.actions) == set(PLAN_ACTIONS)


def test_default_release_is_that_of_a_pool() -> None:
    """The release is the pinned one that a pool's nodes have."""
    assert pool_needs().pool.ami_alias == f"bottlerocket@v{DEFAULT_RELEASE}"
    assert SnapshotRequest(**DEV).bottlerocket == DEFAULT_RELEASE


def test_groups_with_the_tag_go_before_the_clusters_own(
    account: Account, stage: tuple[Host, Network]
) -> None:
    """Security groups of the nodes are found as Karpenter finds them."""
    _, network = stage
    made = account.client("ec2").create_security_group(
        GroupName="nodes",
        Description="of a test",
        VpcId=network.vpc,
        **specification("security-group", {"karpenter.sh/discovery": CLUSTER}),
    )
    assert planned(account).security_groups == (made["GroupId"],)


@pytest.mark.usefixtures("stage")
def test_cluster_of_another_app_needs_a_profile(account: Account) -> None:
    """Without a stage the profile is the one that was named, and no stack is read."""
    plan = planned(account, stage=None, cluster=CLUSTER, instance_profile="nodes")
    assert plan.instance_profile == "nodes"
    assert snapshot_tags(plan.request).keys() == {
        "eks-inference:image-snapshot",
        "eks-inference:bottlerocket",
        "eks-inference:image.0",
        "eks-inference:image.1",
    }


def test_tags_belong_to_the_cluster() -> None:
    """What is launched carries tags by which ``sweep`` takes it for the cluster's."""
    request = SnapshotRequest(**DEV)
    owned = "kubernetes.io/cluster/inference-dev"
    assert request.owner.reason(instance_tags(request)) == f"{owned}=owned"
    alone = SnapshotRequest(cluster="own", images=(VLLM,), instance_profile="nodes")
    assert alone.owner.reason(instance_tags(alone))


@pytest.mark.parametrize(
    ("image", "name"),
    [
        (VLLM, VLLM),
        (MINE, MINE),
        (f"ghcr.io:443/a/b:v1@{DIGEST}", f"ghcr.io:443/a/b@{DIGEST}"),
        (f"ghcr.io:443/a/b@{DIGEST}", f"ghcr.io:443/a/b@{DIGEST}"),
        (f"ghcr.io/a/b:latest@{DIGEST}", f"ghcr.io/a/b@{DIGEST}"),
    ],
)
def test_images_have_the_name_that_kubelet_looks_for(image: str, name: str) -> None:
    """With a digest the tag is left out, as containerd does for kubelet."""
    assert kubelet_name(image) == name
    assert SnapshotRequest(stage="dev", images=(image,)).names == (name,)


@pytest.mark.parametrize(
    "image",
    [
        "vllm/vllm-openai:v0.33.0",
        "docker.io/vllm/vllm-openai",
        "docker.io/vllm/vllm-openai:latest",
        "docker.io/vllm/vllm-openai@sha256:ab",
        "docker.io/vllm/vllm-openai:v1;reboot",
        "docker.io/vllm/vllm-openai:v1 -h",
        "docker.io/$(reboot):v1",
        "",
    ],
)
def test_unpinned_image_is_refused(image: str) -> None:
    """A moving tag, a name without registry and what a shell would read are refused."""
    with pytest.raises(ConfigurationError) as error:
        SnapshotRequest(stage="dev", images=(image,))
    assert error.value.problems == (
        (
            f"'image' must be {PINNED}, got {image!r}; for example "
            "'docker.io/vllm/vllm-openai:v0.33.0'"
        ),
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"images": ()}, "'image' must not be empty; pass for example --image "),
        (
            {"images": (VLLM, VLLM)},
            f"'image' must not name anything twice, got {VLLM!r}",
        ),
        (
            {"images": tuple(f"ghcr.io/a:{index}" for index in range(21))},
            "'image' must be given at most 20 times, got 21; make a snapshot for each",
        ),
        (
            {"images": (f"ghcr.io/{'a' * 250}:1",)},
            "'image' must have at most 256 characters, which a tag has room for, got ",
        ),
        (
            {"bottlerocket": "latest"},
            "'bottlerocket' must be a pinned Bottlerocket rel",
        ),
        (
            {"bottlerocket": "v1.64.0"},
            "'bottlerocket' must be a pinned Bottlerocket re",
        ),
        ({"instance_type": "large"}, "'instance_type' must be an EC2 instance type, "),
        ({"volume_gib": 19}, "'volume_gib' must be 20 to 16384, got 19"),
        (
            {"instance_profile": "arn:aws:iam::1:instance-profile/a"},
            "'instance_profile' must be the name of an instance profile, got ",
        ),
        ({"stage": "DEV"}, "'stage' must be a DNS label"),
        ({"cluster": "a*"}, "'cluster' must be the name of an EKS cluster, got 'a*'"),
        (
            {"stage": None, "instance_profile": "nodes"},
            "'stage' or 'cluster' must be given; pass for example --stage dev",
        ),
        (
            {"stage": None, "cluster": "own"},
            "'instance_profile' must be given without a stage; pass the name of the",
        ),
    ],
)
def test_fails_when_a_value_breaks_a_rule(
    values: Mapping[str, Any], message: str
) -> None:
    """Each value has one message, which names the option and the repair."""
    with pytest.raises(ConfigurationError) as error:
        SnapshotRequest(**{**DEV, **values})
    [problem] = error.value.problems
    assert problem.startswith(message)


def test_all_values_are_checked_at_once() -> None:
    """Every value that breaks a rule is named in the same answer."""
    with pytest.raises(ConfigurationError) as error:
        SnapshotRequest(
            images=("a:latest", "b"),
            bottlerocket="latest",
            instance_type="large",
            volume_gib=0,
        )
    names = [problem.split("'")[1] for problem in error.value.problems]
    assert names == [
        *("stage", "image", "image", "instance_profile", "bottlerocket"),
        *("instance_type", "volume_gib"),
    ]


def test_everything_that_is_missing_is_said_at_once(
    account: Account, stage: tuple[Host, Network]
) -> None:
    """A release, subnets and a profile that are not there are one answer."""
    host, _ = stage
    answer_cluster(host.calls, Network("vpc-0a1b2c3d", "", ""))
    host.calls.answers["ssm:GetParameter"] = refuse("ParameterNotFound")
    account.client("cloudformation").delete_stack(StackName=f"{CLUSTER}-cluster")
    assert problems(account) == (
        (
            "'instance_profile' must be the only one of the stack "
            "'inference-dev-cluster', got none; pass its name with --instance-profile"
        ),
        (
            "'bottlerocket' '1.64.0' must have an image for Kubernetes 1.35 in "
            "us-east-1, got none; aws ssm get-parameter --name "
            "/aws/service/bottlerocket/aws-k8s-1.35/x86_64/1.64.0/image_id must find it"
        ),
        (
            "'cluster' 'inference-dev' must have a subnet with the tag "
            "karpenter.sh/discovery=inference-dev in vpc-0a1b2c3d, got none; tag those "
            "of the nodes, as Karpenter needs it"
        ),
    )


def test_cluster_must_exist(account: Account, stage: tuple[Host, Network]) -> None:
    """Without a cluster there is no network to make the snapshot in."""
    host, _ = stage
    host.calls.answers["eks:DescribeCluster"] = refuse("ResourceNotFoundException")
    assert problems(account) == (
        (
            "'cluster' 'inference-dev' must exist in us-east-1, got none; the snapshot "
            "is made among its nodes; deploy it first"
        ),
    )


def test_cluster_must_be_active(account: Account, stage: tuple[Host, Network]) -> None:
    """A cluster that is being deleted, or not yet made, has no nodes to make it for."""
    host, network = stage
    answer_cluster(host.calls, network, status="CREATING")
    assert problems(account) == (
        "'cluster' 'inference-dev' must be ACTIVE, got 'CREATING'; wait until it is",
    )


@pytest.mark.parametrize(
    ("action", "name"),
    [
        ("cloudformation:ListStackResources", "instance_profile"),
        ("ec2:DescribeInstances", "instances"),
        ("ec2:DescribeSecurityGroups", "security groups"),
        ("ec2:DescribeSnapshots", "snapshots"),
        ("ec2:DescribeSubnets", "subnets"),
        ("eks:DescribeCluster", "cluster"),
        ("ssm:GetParameter", "bottlerocket"),
    ],
)
def test_what_aws_does_not_say_is_named(
    account: Account, stage: tuple[Host, Network], action: str, name: str
) -> None:
    """A denied question is no answer: it is named with the action to allow."""
    host, _ = stage
    operation = action.partition(":")[2]
    host.calls.answers[action] = refuse("AccessDeniedException", operation)
    assert problems(account) == (
        (
            f"'{name}' must be known, got AccessDeniedException no; allow the caller "
            f"'{operation}'; the pages of the commands have policies"
        ),
    )


def test_several_profiles_are_not_guessed(
    account: Account, stage: tuple[Host, Network]
) -> None:
    """A stack with two profiles does not say which one pulls."""
    host, _ = stage
    host.calls.answers["cloudformation:ListStackResources"] = lambda _: {
        "StackResourceSummaries": [
            {
                "LogicalResourceId": name,
                "PhysicalResourceId": name,
                "ResourceType": "AWS::IAM::InstanceProfile",
                "LastUpdatedTimestamp": "2026-11-24",
                "ResourceStatus": "CREATE_COMPLETE",
            }
            for name in ("A", "B")
        ]
    }
    [problem] = problems(account)
    assert problem.startswith("'instance_profile' must be the only one of the stack")
    assert planned(account, instance_profile="A").instance_profile == "A"


@pytest.mark.usefixtures("stage")
def test_existing_snapshot_is_found(account: Account) -> None:
    """One with the same images and release is named, whatever the images' order."""
    made = snapshot(account)
    found = Snapshot(name=made, completed=True)
    assert planned(account).existing == found
    assert planned(account, images=(MINE, VLLM)).existing == found
    assert planned(account, volume_gib=300).existing == found


@pytest.mark.usefixtures("stage")
@pytest.mark.parametrize(
    ("values", "changes"),
    [
        ({"images": (VLLM,)}, {}),
        ({"images": (VLLM, MINE, "ghcr.io/a/b:1")}, {}),
        ({"volume_gib": 199}, {}),
        ({}, {"eks-inference:bottlerocket": "1.63.0"}),
        ({}, {"eks-inference:image-snapshot": "inference-dev2"}),
        ({}, {"eks-inference:image.0": "ghcr.io/a/b:1"}),
    ],
)
def test_other_snapshots_are_not_taken_for_it(
    account: Account, values: Mapping[str, Any], changes: Mapping[str, str]
) -> None:
    """Other images, another release or cluster, and a larger volume are another's."""
    snapshot(account, changes)
    assert planned(account, **values).existing is None


def listed(*states: str) -> Any:
    """Return an answer with one snapshot a page, each in a state."""
    tags = tag_list(snapshot_tags(SnapshotRequest(**DEV)))

    def answer(asked: Mapping[str, Any]) -> Mapping[str, Any]:
        [wanted] = [i["Values"] for i in asked["Filters"] if i["Name"] == "status"]
        index = int(asked.get("NextToken", "0"))
        item = {
            "SnapshotId": f"snap-{index}",
            "State": states[index],
            "VolumeSize": 200,
            "Tags": tags,
        }
        page = {"Snapshots": [item] if states[index] in wanted else []}
        more = index + 1 < len(states)
        return {**page, "NextToken": str(index + 1)} if more else page

    return answer


@pytest.mark.parametrize(
    ("states", "found"),
    [
        (("error", "pending"), Snapshot(name="snap-1", completed=False)),
        (("pending", "completed"), Snapshot(name="snap-1", completed=True)),
        (("error",), None),
    ],
)
def test_complete_snapshot_goes_before_one_that_is_being_made(
    account: Account,
    stage: tuple[Host, Network],
    states: tuple[str, ...],
    found: Snapshot | None,
) -> None:
    """Of several the complete one is taken; one that failed never."""
    host, _ = stage
    host.calls.answers["ec2:DescribeSnapshots"] = listed(*states)
    assert planned(account).existing == found


@pytest.mark.usefixtures("stage")
def test_instances_of_an_earlier_run_are_named(account: Account) -> None:
    """An instance that a killed run has left is in the plan, one that has ended not."""
    ec2 = account.client("ec2")
    ids = [
        ec2.run_instances(
            ImageId=IMAGE,
            InstanceType="m5.large",
            MinCount=1,
            MaxCount=1,
            **specification("instance", {"eks-inference:image-snapshot": cluster}),
        )["Instances"][0]["InstanceId"]
        for cluster in (CLUSTER, CLUSTER, "inference-dev2")
    ]
    ec2.terminate_instances(InstanceIds=ids[:1])
    ec2.stop_instances(InstanceIds=ids[1:2])
    assert planned(account).left == (ids[1],)
