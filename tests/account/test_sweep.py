"""Tests of what is swept, what is not, and in which order."""

from collections.abc import Mapping
from typing import Any

import pytest

from eks_inference import ConfigurationError
from eks_inference.account.leftovers import FINDERS, KINDS
from eks_inference.account.ownership import Owner
from eks_inference.account.session import Account
from eks_inference.account.sweep import (
    DELETE_ACTIONS,
    READ_ACTIONS,
    Outcome,
    Sweep,
    sweep,
)
from tests.account.conftest import REGION, policy_actions, refuse, watch
from tests.account.leftover_account import (
    CLUSTER,
    MINE,
    OTHERS,
    STAGE_TAG,
    Scene,
    fill,
    specification,
    tag_list,
)

DEV = Owner(cluster=CLUSTER, stage="dev")
TEMPLATE = '{"Resources": {"T": {"Type": "AWS::SNS::Topic"}}}'


def found(swept: Sweep, kind: str) -> set[str]:
    """Return the ids of a kind that are left."""
    return {result.item.name for result in swept.results if result.item.kind == kind}


@pytest.fixture
def scene(account: Account) -> Scene:
    """A mixed account."""
    return fill(account)


def test_every_kind_is_found_and_deleted_somehow() -> None:
    """What can be deleted is what is looked for, in the same order."""
    assert list(KINDS) == list(FINDERS)


def test_dry_run_lists_and_deletes_nothing(scene: Scene) -> None:
    """Without being told to delete, only reading actions are called."""
    calls = watch(scene.account)
    swept = sweep(scene.account, DEV)
    for kind in KINDS:
        assert found(swept, kind) == scene.mine(kind), kind
        assert len(scene.mine(kind)) == 2
        assert scene.mine(kind) <= scene.alive(kind), kind
    assert {result.outcome for result in swept.results} == {Outcome.LEFT}
    assert set(calls.actions) <= set(READ_ACTIONS)
    assert not swept.is_clean
    assert swept.unknown == ()


def test_delete_removes_ours_and_spares_all_others(scene: Scene) -> None:
    """Of each kind ours are gone and every near miss is still there."""
    before = {kind: scene.alive(kind) for kind in KINDS}
    swept = sweep(scene.account, DEV, delete=True)
    for kind in KINDS:
        alive = scene.alive(kind)
        assert not scene.mine(kind) & alive, kind
        assert scene.others(kind) <= alive, kind
        # an instance takes its own volume and interface with it, and nothing more
        gone = before[kind] - alive - scene.mine(kind)
        assert not gone & set(scene.ids.values()), kind
    assert [r for r in swept.results if r.outcome is not Outcome.DELETED] == []
    assert swept.is_clean
    again = sweep(scene.account, DEV)
    assert again.results == ()
    assert again.is_clean


def test_cluster_alone_spares_what_only_has_the_stage(scene: Scene) -> None:
    """Without a stage its tag says nothing."""
    swept = sweep(scene.account, Owner(cluster=CLUSTER))
    for kind in KINDS:
        assert found(swept, kind) == {scene.ids[kind, "karpenter"]}, kind


def test_order_of_deletion(scene: Scene) -> None:
    """Instances end, and have ended, before what they hold is deleted."""
    calls = watch(scene.account)
    sweep(scene.account, DEV, delete=True)
    changes = [
        action
        for action in calls.actions
        if action in {*DELETE_ACTIONS, "ec2:DescribeInstances"}
    ]
    steps = [a for i, a in enumerate(changes) if i == 0 or a != changes[i - 1]]
    assert steps == [
        "ec2:DescribeInstances",
        "ec2:TerminateInstances",
        "ec2:DescribeInstances",
        "ec2:DeleteVolume",
        "ec2:DeleteNetworkInterface",
        "ec2:DeleteLaunchTemplate",
        "iam:DeleteInstanceProfile",
        "ec2:DeleteSecurityGroup",
    ]


def test_actions_are_those_of_the_policy(scene: Scene) -> None:
    """What is called, the lists in the code and those of the page are the same."""
    ec2, iam = scene.account.client("ec2"), scene.account.client("iam")
    first, second = sorted(scene.mine("security group"))
    pair = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": second}]}]
    ec2.authorize_security_group_ingress(GroupId=first, IpPermissions=pair)
    ec2.authorize_security_group_egress(GroupId=first, IpPermissions=pair)
    iam.create_role(RoleName="node", AssumeRolePolicyDocument="{}")
    iam.add_role_to_instance_profile(
        InstanceProfileName=scene.ids["instance profile", "karpenter"], RoleName="node"
    )
    calls = watch(scene.account)
    assert sweep(scene.account, DEV, delete=True).is_clean
    # not a call, but what DescribeStacks asks for
    assert {*calls.actions, "cloudformation:ListStacks"} == {
        *READ_ACTIONS,
        *DELETE_ACTIONS,
    }
    assert policy_actions("sweep.md") == {*READ_ACTIONS, *DELETE_ACTIONS}


def test_groups_that_hold_each_other_go(account: Account) -> None:
    """Rules that name groups are taken away before the groups are deleted."""
    ec2 = account.client("ec2")
    tags = {"kubernetes.io/cluster/inference-dev": "owned"}
    first, second = (
        ec2.create_security_group(
            GroupName=f"eks-cluster-sg-{name}",
            Description="of a test",
            **specification("security-group", tags),
        )["GroupId"]
        for name in ("a", "b")
    )
    for one, other in ((first, second), (second, first)):
        ec2.authorize_security_group_ingress(
            GroupId=one,
            IpPermissions=[
                {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": other}]},
                {
                    "IpProtocol": "tcp",
                    "FromPort": 443,
                    "ToPort": 443,
                    "IpRanges": [{"CidrIp": "10.0.0.0/8"}],
                },
            ],
        )
    swept = sweep(account, DEV, delete=True)
    assert swept.is_clean
    left = {
        group["GroupId"] for group in ec2.describe_security_groups()["SecurityGroups"]
    }
    assert not left & {first, second}


def test_vpc_cni_interfaces_are_found(account: Account) -> None:
    """An interface that the CNI has made carries the cluster's name in its own tag."""
    ec2 = account.client("ec2")
    [subnet, *_] = ec2.describe_subnets()["Subnets"]
    ids = {}
    for cluster in (CLUSTER, "inference-dev2"):
        tags = {
            "cluster.k8s.amazonaws.com/name": cluster,
            "eks:eni:owner": "amazon-vpc-cni",
        }
        made = ec2.create_network_interface(
            SubnetId=subnet["SubnetId"],
            Description="aws-K8S-i-0123456789abcdef0",
            **specification("network-interface", tags),
        )
        ids[cluster] = made["NetworkInterface"]["NetworkInterfaceId"]
    swept = sweep(account, DEV)
    assert found(swept, "network interface") == {ids[CLUSTER]}
    [result] = swept.results
    assert result.item.reason == "cluster.k8s.amazonaws.com/name=inference-dev"
    assert result.item.detail.startswith("aws-K8S-i-0123456789abcdef0, ")


def test_profiles_of_another_region_survive(account: Account) -> None:
    """IAM is one for all regions; the path and the tag say whose a profile is."""
    iam = account.client("iam")
    mine = MINE["karpenter"]
    for name, region, tagged in (
        ("here", REGION, REGION),
        ("path", "eu-west-1", REGION),
        ("tag", REGION, "eu-west-1"),
    ):
        iam.create_instance_profile(
            InstanceProfileName=name,
            Path=f"/karpenter/{region}/{CLUSTER}/uid/",
            Tags=tag_list({**mine, "topology.kubernetes.io/region": tagged}),
        )
    iam.create_instance_profile(
        InstanceProfileName="longer",
        Path=f"/karpenter/{REGION}/{CLUSTER}-2/uid/",
        Tags=tag_list(mine),
    )
    assert found(sweep(account, DEV), "instance profile") == {"here"}


def test_volume_of_a_claim_says_so(account: Account) -> None:
    """Data of a claim are named before they are deleted."""
    account.client("ec2").create_volume(
        AvailabilityZone=f"{REGION}a",
        Size=8,
        **specification(
            "volume",
            {
                "kubernetes.io/cluster/inference-dev": "owned",
                "kubernetes.io/created-for/pvc/name": "data",
                "kubernetes.io/created-for/pvc/namespace": "monitoring",
            },
        ),
    )
    [result] = sweep(account, DEV).results
    assert result.item.detail == "8 GiB, available, data of the claim monitoring/data"


@pytest.mark.parametrize("status", ["ACTIVE", "DELETING"])
def test_fails_while_the_cluster_exists(scene: Scene, status: str) -> None:
    """A cluster that is there has nodes at work: nothing is listed or deleted."""
    calls = watch(scene.account)
    calls.answers["eks:DescribeCluster"] = lambda asked: {
        "cluster": {"name": asked["name"], "status": status}
    }
    with pytest.raises(ConfigurationError) as error:
        sweep(scene.account, DEV, delete=True)
    assert str(error.value) == (
        f"'cluster' 'inference-dev' must be gone, got {status!r}; its nodes may be at "
        "work; delete the stacks first"
    )
    assert scene.mine("instance") <= scene.alive("instance")


@pytest.mark.parametrize(
    ("tags", "refused"),
    [
        ({STAGE_TAG: "dev"}, True),
        ({STAGE_TAG: "dev2"}, False),
        ({}, False),
    ],
)
def test_fails_while_a_stack_of_the_stage_exists(
    account: Account, tags: Mapping[str, str], refused: bool
) -> None:
    """A stack of the stage is in the way, one of another stage is not."""
    account.client("cloudformation").create_stack(
        StackName="inference-dev-network",
        TemplateBody=TEMPLATE,
        Tags=tag_list(tags),
    )
    if not refused:
        assert sweep(account, DEV).is_clean
        return
    with pytest.raises(ConfigurationError) as error:
        sweep(account, DEV)
    assert str(error.value) == (
        "stack 'inference-dev-network' of stage 'dev' must be gone or DELETE_FAILED, "
        "got 'CREATE_COMPLETE'; delete it first"
    )


def stack_pages(*stacks: tuple[str, str, str]) -> Any:
    """Return an answer with one stack a page: name, status and stage."""

    def answer(asked: Mapping[str, Any]) -> Mapping[str, Any]:
        index = int(asked.get("NextToken", "0"))
        name, status, stage = stacks[index]
        page = {
            "Stacks": [
                {
                    "StackName": name,
                    "StackStatus": status,
                    "CreationTime": "2026-11-24",
                    "Tags": tag_list({STAGE_TAG: stage}),
                }
            ]
        }
        more = index + 1 < len(stacks)
        return {**page, "NextToken": str(index + 1)} if more else page

    return answer


def test_stack_on_the_last_page_is_in_the_way(account: Account) -> None:
    """Every page of stacks is read."""
    calls = watch(account)
    calls.answers["cloudformation:DescribeStacks"] = stack_pages(
        ("a", "CREATE_COMPLETE", "prod"),
        ("b", "CREATE_COMPLETE", "prod"),
        ("c", "DELETE_IN_PROGRESS", "dev"),
    )
    with pytest.raises(ConfigurationError, match="stack 'c' of stage 'dev'"):
        sweep(account, DEV)


def test_failed_deletion_of_a_stack_lets_sweep_help(scene: Scene) -> None:
    """Leftovers in a stack's way are swept; what the stack has made stays its own."""
    calls = watch(scene.account)
    calls.answers["cloudformation:DescribeStacks"] = stack_pages(
        ("inference-dev-network", "DELETE_FAILED", "dev")
    )
    tags = {STAGE_TAG: "dev", "aws:cloudformation:stack-name": "inference-dev-network"}
    calls.answers["ec2:DescribeSecurityGroups"] = lambda _: {
        "SecurityGroups": [
            {"GroupId": "sg-0", "GroupName": "endpoint", "Tags": tag_list(tags)}
        ]
    }
    swept = sweep(scene.account, DEV, delete=True)
    assert swept.is_clean
    assert not scene.mine("instance") & scene.alive("instance")
    assert found(swept, "security group") == set()
    [kept] = [item for item in swept.kept if item.kind == "security group"]
    assert (kept.name, kept.stack) == ("sg-0", "inference-dev-network")
    assert "ec2:DeleteSecurityGroup" not in calls.actions


@pytest.mark.parametrize(
    "action", ["eks:DescribeCluster", "cloudformation:DescribeStacks"]
)
def test_fails_when_nobody_knows_whether_it_is_gone(scene: Scene, action: str) -> None:
    """Where AWS does not say that the cluster is gone, it counts as there."""
    calls = watch(scene.account)
    operation = action.partition(":")[2]
    calls.answers[action] = refuse("AccessDeniedException", operation)
    with pytest.raises(ConfigurationError) as error:
        sweep(scene.account, DEV, delete=True)
    assert str(error.value).startswith(
        "'cluster' must be known to be gone, got AccessDeniedException no; allow the "
        f"caller '{operation}'"
    )
    assert scene.mine("instance") <= scene.alive("instance")


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ("ec2:TerminateInstances", "instance"),
        ("ec2:DeleteVolume", "volume"),
        ("ec2:DeleteNetworkInterface", "network interface"),
        ("ec2:DeleteLaunchTemplate", "launch template"),
        ("iam:DeleteInstanceProfile", "instance profile"),
        ("ec2:DeleteSecurityGroup", "security group"),
    ],
)
def test_failed_deletion_stops_no_other(scene: Scene, action: str, kind: str) -> None:
    """A deletion that AWS refuses is reported, and all others are done."""
    calls = watch(scene.account)
    calls.answers[action] = refuse("DependencyViolation")
    swept = sweep(scene.account, DEV, delete=True)
    assert not swept.is_clean
    for result in swept.results:
        failed = result.item.kind == kind
        assert result.outcome is (Outcome.FAILED if failed else Outcome.DELETED)
        assert result.error == ("DependencyViolation no" if failed else "")
    for other in set(KINDS) - {kind}:
        assert not scene.mine(other) & scene.alive(other), other


def test_one_of_two_deletions_fails(scene: Scene) -> None:
    """Of one kind, too, the others go on."""
    calls = watch(scene.account)
    stubborn = scene.ids["volume", "karpenter"]
    client = scene.account.client("ec2")

    def answer(asked: Mapping[str, Any]) -> Mapping[str, Any]:
        if asked["VolumeId"] == stubborn:
            return refuse("VolumeInUse")(asked)
        del calls.answers["ec2:DeleteVolume"]
        client.delete_volume(VolumeId=asked["VolumeId"])
        calls.answers["ec2:DeleteVolume"] = answer
        return {}

    calls.answers["ec2:DeleteVolume"] = answer
    swept = sweep(scene.account, DEV, delete=True)
    assert [r.item.name for r in swept.results if r.outcome is Outcome.FAILED] == [
        stubborn
    ]
    assert scene.mine("volume") & scene.alive("volume") == {stubborn}


@pytest.mark.parametrize(
    ("action", "code"),
    [
        ("ec2:DeleteVolume", "InvalidVolume.NotFound"),
        ("ec2:DeleteNetworkInterface", "InvalidNetworkInterfaceID.NotFound"),
    ],
)
def test_what_went_with_its_instance_is_deleted(
    scene: Scene, action: str, code: str
) -> None:
    """A volume or interface that its instance took along is no failure."""
    calls = watch(scene.account)
    calls.answers[action] = refuse(code)
    assert sweep(scene.account, DEV, delete=True).is_clean


def test_instance_that_does_not_end_is_reported(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait for an instance has an end, and the rest goes on after it."""
    monkeypatch.setattr(
        "eks_inference.account.sweep._WAIT", {"Delay": 0, "MaxAttempts": 2}
    )
    calls = watch(scene.account)
    calls.answers["ec2:TerminateInstances"] = lambda _: {}
    swept = sweep(scene.account, DEV, delete=True)
    failed = [r for r in swept.results if r.outcome is Outcome.FAILED]
    assert {r.item.kind for r in failed} == {"instance"}
    assert all("Max attempts exceeded" in r.error for r in failed)
    assert not scene.mine("volume") & scene.alive("volume")


@pytest.mark.parametrize(
    ("action", "name"),
    [
        ("ec2:DescribeInstances", "instances"),
        ("ec2:DescribeVolumes", "volumes"),
        ("ec2:DescribeNetworkInterfaces", "network interfaces"),
        ("ec2:DescribeLaunchTemplates", "launch templates"),
        ("iam:ListInstanceProfiles", "instance profiles"),
        ("ec2:DescribeSecurityGroups", "security groups"),
        ("tag:GetResources", "tagged resources"),
        ("logs:DescribeLogGroups", "log groups"),
    ],
)
def test_what_cannot_be_listed_is_said(
    account: Account, action: str, name: str
) -> None:
    """A list that is denied is named, and the account is not called clean."""
    calls = watch(account)
    operation = action.partition(":")[2]
    calls.answers[action] = refuse("UnauthorizedOperation", operation)
    swept = sweep(account, DEV)
    [unknown] = swept.unknown
    assert unknown.startswith(f"{name}: UnauthorizedOperation no; allow the caller")
    assert operation in unknown
    assert not swept.is_clean


def test_every_page_is_read(account: Account) -> None:
    """What stands on the last page of a list is found."""
    calls = watch(account)

    def pages(key: str, item: Mapping[str, Any], tags: str = "Tags") -> Any:
        def answer(asked: Mapping[str, Any]) -> Mapping[str, Any]:
            token = int(asked.get("NextToken", "0"))
            mine = {**item, tags: tag_list(MINE["stage"])}
            page = {key: [mine if token == 2 else {**item, tags: []}]}
            return page if token == 2 else {**page, "NextToken": str(token + 1)}

        return answer

    calls.answers["ec2:DescribeVolumes"] = pages(
        "Volumes", {"VolumeId": "vol-1", "Size": 1, "State": "available"}
    )
    calls.answers["ec2:DescribeNetworkInterfaces"] = pages(
        "NetworkInterfaces",
        {"NetworkInterfaceId": "eni-1", "Status": "available"},
        "TagSet",
    )
    calls.answers["ec2:DescribeLaunchTemplates"] = pages(
        "LaunchTemplates", {"LaunchTemplateId": "lt-1", "LaunchTemplateName": "one"}
    )
    calls.answers["ec2:DescribeSecurityGroups"] = pages(
        "SecurityGroups", {"GroupId": "sg-1", "GroupName": "a"}
    )
    ids = [result.item.name for result in sweep(account, DEV).results]
    assert ids == ["vol-1", "eni-1", "lt-1", "sg-1"]


def test_data_are_kept_on_purpose(account: Account) -> None:
    """Buckets, file systems, keys and logs are listed with a command, never deleted."""
    tags = {STAGE_TAG: "dev"}
    session = account._session  # noqa: SLF001 - services that sweep itself never calls
    s3, kms, efs = (
        session.client(name, region_name=REGION) for name in ("s3", "kms", "efs")
    )
    logs = account.client("logs")
    s3.create_bucket(Bucket="weights")
    s3.put_bucket_tagging(Bucket="weights", Tagging={"TagSet": tag_list(tags)})
    s3.create_bucket(Bucket="weights2")
    s3.put_bucket_tagging(
        Bucket="weights2", Tagging={"TagSet": tag_list({STAGE_TAG: "dev2"})}
    )
    key = kms.create_key(Tags=[{"TagKey": STAGE_TAG, "TagValue": "dev"}])
    file_system = efs.create_file_system(CreationToken="a", Tags=tag_list(tags))
    logs.create_log_group(logGroupName="/aws/eks/inference-dev/cluster", tags=tags)
    logs.create_log_group(logGroupName="/aws/eks/inference-dev2/cluster")
    logs.create_log_group(logGroupName="flow", tags=tags)
    swept = sweep(account, DEV, delete=True)
    assert swept.results == ()
    commands = {item.command for item in swept.kept}
    assert commands == {
        "aws s3 rb --force s3://weights",
        f"aws kms schedule-key-deletion --key-id {key['KeyMetadata']['KeyId']}",
        "aws efs delete-file-system --file-system-id " + file_system["FileSystemId"],
        "aws logs delete-log-group --log-group-name /aws/eks/inference-dev/cluster",
        "aws logs delete-log-group --log-group-name flow",
    }
    assert len(swept.kept) == len(commands)
    assert swept.is_clean
    assert len(logs.describe_log_groups()["logGroups"]) == 3


def test_load_balancers_are_listed(account: Account) -> None:
    """One that a Service has made costs money, and is named with its command."""
    calls = watch(account)
    arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/net/a/b"

    def answer(asked: Mapping[str, Any]) -> Mapping[str, Any]:
        [wanted] = asked["TagFilters"]
        tags = {"elbv2.k8s.aws/cluster": CLUSTER}
        mine = tags.get(wanted["Key"]) in wanted["Values"]
        listed = [{"ResourceARN": arn, "Tags": tag_list(tags)}] if mine else []
        return {"ResourceTagMappingList": listed, "PaginationToken": ""}

    calls.answers["tag:GetResources"] = answer
    [kept] = sweep(account, DEV).kept
    assert kept.command == f"aws elbv2 delete-load-balancer --load-balancer-arn {arn}"


def test_what_the_tagging_service_remembers_is_not_listed(account: Account) -> None:
    """It lists an instance for a while after its end, and names another's too."""
    calls = watch(account)
    arn = "arn:aws:ec2:us-east-1:123456789012:"
    listed = {
        f"{arn}instance/i-0a1b2c3d4e5f60718": MINE["karpenter"],
        f"{arn}launch-template/lt-0a1b2c3d4e5f60718": MINE["karpenter"],
        f"{arn}natgateway/nat-1": OTHERS["another's with our stage"],
        f"{arn}natgateway/nat-0": MINE["stage"],
    }
    calls.answers["tag:GetResources"] = lambda _: {
        "ResourceTagMappingList": [
            {"ResourceARN": arn, "Tags": tag_list(tags)} for arn, tags in listed.items()
        ]
    }
    [kept] = sweep(account, DEV).kept
    assert (kept.kind, kept.name, kept.command) == ("ec2:natgateway", "nat-0", "")


def test_tags_of_others_are_no_reason() -> None:
    """The pure rule agrees with what the account shows."""
    assert all(DEV.reason(tags) for tags in MINE.values())
    assert [name for name, tags in OTHERS.items() if DEV.reason(tags)] == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"cluster": "inference-*"},
            "'cluster' must be the name of an EKS cluster, got 'inference-*'",
        ),
        ({"cluster": ""}, "'cluster' must be the name of an EKS cluster, got ''"),
        ({"cluster": None}, "'cluster' must be the name of an EKS cluster, got None"),
    ],
)
def test_fails_when_the_owner_is_none(values: dict[str, Any], message: str) -> None:
    """A name with a wildcard, or none, would own too much."""
    with pytest.raises(ConfigurationError) as error:
        Owner(**values)
    assert str(error.value) == message


@pytest.mark.parametrize("stage", ["", "*", "Dev"])
def test_fails_when_the_stage_is_none(stage: str) -> None:
    """An empty stage or a wildcard would own too much."""
    with pytest.raises(ConfigurationError, match="'stage' must be a DNS label"):
        Owner(cluster=CLUSTER, stage=stage)
