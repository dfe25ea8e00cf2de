"""Serving: what a replica runs, what it may read, and how many there are."""

from eks_inference.manifests import Manifest
from eks_inference.testing import as_text
from tests.app.conftest import (
    Templates,
    of_kind,
    other_choices,
    resources,
    statements,
    synthesize,
)
from tests.app.questions import container, pod


def test_model_reads_its_own_prefix(templates: Templates) -> None:
    """The role of a model reads below its prefix, and decrypts, and nothing more."""
    [role] = [
        item
        for key, item in resources(templates["Serving"], "AWS::IAM::Role").items()
        if key.startswith("Models")
    ]
    [policy] = role["Policies"]
    read, listing, decrypt = statements(policy["PolicyDocument"])
    prefix = "models/mistral-7b-instruct-awq/*"
    [weights] = [as_text(item) for item in read["Resource"]]
    assert read["Action"] == ["s3:GetObject"]
    assert weights.endswith(f"}}/{prefix}")
    assert listing["Action"] == ["s3:ListBucket"]
    assert listing["Condition"] == [{"StringLike": {"s3:prefix": prefix}}]
    assert decrypt["Action"] == ["kms:Decrypt"]
    assert "*" not in as_text(decrypt["Resource"][0])


def test_pods_of_this_account_alone_assume_a_role(templates: Templates) -> None:
    """Each role of pods is EKS Pod Identity's, for clusters of this account."""
    roles = [
        template["Resources"][item["RoleArn"]["Fn::GetAtt"][0]]["Properties"]
        for template in templates.values()
        for item in resources(template, "AWS::EKS::PodIdentityAssociation").values()
    ]
    assert len(roles) == 5
    for role in roles:
        [trust] = statements(role["AssumeRolePolicyDocument"])
        assert trust["Action"] == ["sts:AssumeRole", "sts:TagSession"]
        assert trust["Principal"] == [{"Service": "pods.eks.amazonaws.com"}]
        assert trust["Condition"] == [
            {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
        ]


def test_weights_are_streamed_from_the_bucket(dev: Templates) -> None:
    """vLLM streams the weights from the model's prefix, many requests at once."""
    arguments = container(dev, "mistral-7b")["args"]
    assert arguments[0].startswith("s3://${inference-dev-storage:")
    assert arguments[0].endswith("}/models/mistral-7b-instruct-awq/")
    assert "--load-format=runai_streamer" in arguments
    assert '--model-loader-extra-config={"concurrency":16}' in arguments


def test_weights_fit_the_memory_of_the_pod(dev: Templates) -> None:
    """The streamer's buffer is smaller than the pod's memory."""
    main = container(dev, "mistral-7b")
    limit = int(environment(main)["RUNAI_STREAMER_MEMORY_LIMIT"])
    memory = int(main["resources"]["limits"]["memory"].removesuffix("Gi"))
    assert 1e9 < limit < memory * 1024**3 / 2


def test_compile_cache_is_apart_for_each_model_gpu_and_image(dev: Templates) -> None:
    """A pod sees the directory of its model, GPUs and image only."""
    [mount] = [
        item
        for item in container(dev, "mistral-7b")["volumeMounts"]
        if item["name"] == "cache"
    ]
    assert mount["subPath"] == (
        "mistral-7b/a10g-l4/dev-public-deep-learning-containers-"
        "vllm-0.31.0-gpu-py312-cu130-ubuntu24.04-ec2"
    )


def test_scaling_follows_running_and_waiting_requests(dev: Templates) -> None:
    """A replica is full at three quarters of the sequences that it processes."""
    spec = of_kind(dev, "ScaledObject")["mistral-7b"]["spec"]
    assert "--max-num-seqs=32" in container(dev, "mistral-7b")["args"]
    assert spec["advanced"]["scalingModifiers"] == {
        "formula": "running + waiting * 10",
        "target": "24",
        "metricType": "AverageValue",
    }


def test_scaling_is_fast_up_and_slow_down(dev: Templates) -> None:
    """One replica becomes ten at once; replicas go one by one after a quiet time."""
    advanced = of_kind(dev, "ScaledObject")["mistral-7b"]["spec"]["advanced"]
    behavior = advanced["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior == {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [
                {"type": "Percent", "value": 900, "periodSeconds": 15},
                {"type": "Pods", "value": 9, "periodSeconds": 15},
            ],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": 300,
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}],
        },
    }


def test_silent_metrics_are_not_an_empty_queue(dev: Templates) -> None:
    """A query without an answer is an error, upon which the replicas stay."""
    spec = of_kind(dev, "ScaledObject")["mistral-7b"]["spec"]
    assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"
    for trigger in spec["triggers"]:
        assert trigger["metadata"]["ignoreNullValues"] == "false"
        assert trigger["metadata"]["query"].startswith("sum(")


def test_metrics_are_fresh(dev: Templates) -> None:
    """Prometheus scrapes the models every five seconds."""
    spec = of_kind(dev, "PodMonitor")["mistral-7b"]["spec"]
    assert [item["interval"] for item in spec["podMetricsEndpoints"]] == ["5s"]


def test_zero_replicas_wake_by_the_clock() -> None:
    """A model that can go to zero has a trigger outside its own pods."""
    spec = of_kind(synthesize(other_choices()), "ScaledObject")["office-hours"]["spec"]
    queue, clock, request, gateway = spec["triggers"]
    assert spec["minReplicaCount"] == 0
    assert queue["type"] == "prometheus"
    assert (clock["type"], clock["metadata"]["timezone"]) == ("cron", "Europe/Berlin")
    assert (request["type"], gateway["type"]) == ("external-push", "prometheus")
    assert spec["cooldownPeriod"] >= 300


def test_zero_replicas_are_an_empty_queue() -> None:
    """Where a Deployment has no replica nobody waits; all other silence is an error."""
    scalers = of_kind(synthesize(other_choices()), "ScaledObject")
    trigger = scalers["office-hours"]["spec"]["triggers"][0]["metadata"]
    pods = (
        'namespace="inference",job="inference/office-hours",model_name="office/hours"'
    )
    assert trigger["ignoreNullValues"] == "false"
    assert trigger["threshold"] == "24"
    assert trigger["query"] == (
        f"(sum(vllm:num_requests_running{{{pods}}}) + "
        f"10 * sum(vllm:num_requests_waiting{{{pods}}}))"
        " or (vector(0) and on() (kube_deployment_status_replicas{"
        'namespace="inference",deployment="office-hours"} == 0))'
    )
    for item in scalers["mistral-7b"]["spec"]["triggers"]:
        assert "vector(0)" not in item["metadata"]["query"]


def test_shutdown_fits_a_spot_notice(dev: Templates) -> None:
    """Waiting, draining and ending take less than EC2's notice of two minutes."""
    main = container(dev, "mistral-7b")
    [timeout] = [item for item in main["args"] if "--shutdown-timeout=" in item]
    _, wait = main["lifecycle"]["preStop"]["exec"]["command"]
    grace = pod(dev, "mistral-7b")["terminationGracePeriodSeconds"]
    assert int(wait) + int(timeout.partition("=")[2]) < grace <= 110


def test_disruption_takes_one_replica_at_a_time(dev: Templates) -> None:
    """A budget bounds voluntary disruption and never blocks the only replica."""
    budget = of_kind(dev, "PodDisruptionBudget")["mistral-7b"]["spec"]
    assert budget["maxUnavailable"] == 1
    assert "minAvailable" not in budget


def environment(main: Manifest) -> dict[str, str]:
    """Return the environment of a container."""
    return {item["name"]: item["value"] for item in main["env"]}
