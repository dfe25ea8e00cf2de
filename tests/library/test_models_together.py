"""Tests of models beside each other: in one namespace, in two pools, one after one."""

from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from aws_cdk.assertions import Template

from eks_inference import (
    Accelerator,
    Activation,
    ConfigurationError,
    GpuInferencePool,
    ModelEndpoint,
    QueueScaledModel,
    QueueScaling,
    SecretKey,
    Signal,
)
from eks_inference.manifests import ENDPOINT_LABEL, Manifest
from eks_inference.testing import MANIFEST_TYPE
from eks_inference.testing import manifests as by_resource
from tests.library.conftest import import_cluster, make_model

READY = "Custom::AWSCDK-EKS-KubernetesObjectValue"
Resources = dict[str, dict[str, Any]]


@pytest.fixture
def stack() -> cdk.Stack:
    """An empty stack of an app that this test alone synthesizes."""
    return cdk.Stack(cdk.App(analytics_reporting=False), "Stack")


def release(*versions: str, display: str = "chat") -> Mapping[str, Any]:
    """Return the template of an endpoint with some versions of a model behind it."""
    app = cdk.App(analytics_reporting=False)
    stack = cdk.Stack(app, "Stack")
    cluster = import_cluster(stack)
    pool = GpuInferencePool(stack, "Gpu", cluster=cluster, max_gpus=40)
    endpoint = ModelEndpoint(
        stack, "Endpoint", cluster=cluster, name="chat", served_name=display
    )
    for version in versions:
        QueueScaledModel(
            stack,
            version,
            pool=pool,
            model=make_model(name=version.lower(), served_name=display),
            shared_endpoint=endpoint,
            await_ready=True,
        )
    found: Mapping[str, Any] = Template.from_stack(stack).to_json()
    return found


def manifests(template: Mapping[str, Any]) -> list[Manifest]:
    """Return every Kubernetes object of a template."""
    return [item for items in by_resource(template).values() for item in items]


def of_kind(template: Mapping[str, Any], kind: str) -> dict[str, Manifest]:
    """Return the objects of a kind by name."""
    return {
        item["metadata"]["name"]: item
        for item in manifests(template)
        if item["kind"] == kind
    }


def endpoints(objects: list[Manifest], service: str) -> set[str]:
    """Return the models whose ready pods a Service leads to."""
    [selector] = [
        item["spec"]["selector"]
        for item in objects
        if item["kind"] == "Service" and item["metadata"]["name"] == service
    ]
    return {
        item["metadata"]["name"]
        for item in objects
        if item["kind"] == "Deployment"
        and selector.items() <= item["spec"]["template"]["metadata"]["labels"].items()
    }


def test_endpoint_leads_to_every_version() -> None:
    """The shared Service leads to both versions, and each one's own to that one."""
    objects = manifests(release("Blue", "Green"))
    assert endpoints(objects, "chat") == {"blue", "green"}
    assert endpoints(objects, "blue") == {"blue"}
    assert endpoints(objects, "green") == {"green"}


def test_successor_takes_over_without_a_gap() -> None:
    """In one deployment, the old version goes only when the new one is ready."""
    # CloudFormation creates and updates everything first, what waits for readiness
    # included, and deletes what is gone from the template only then
    before, after = release("Blue"), release("Green")
    old, new = before["Resources"], after["Resources"]
    kept = [key for key in old if key.startswith("Endpoint")]
    assert kept
    for key in kept:
        assert new[key] == old[key]
    created = {key for key in new if key not in old}
    [ready] = [key for key in created if new[key]["Type"] == READY]
    [applied] = [
        key
        for key in created
        if new[key]["Type"] == MANIFEST_TYPE and "Deployment" in str(new[key])
    ]
    assert applied in new[ready]["DependsOn"]
    properties = new[ready]["Properties"]
    assert properties["JsonPath"] == ".status.readyReplicas"
    assert (properties["ObjectType"], properties["ObjectName"]) == (
        "deployment",
        "green",
    )
    assert properties["TimeoutSeconds"] == 14 * 60
    both = [*manifests(after), *of_kind(before, "Deployment").values()]
    assert endpoints(both, "chat") == {"blue", "green"}
    deleted = {key for key in old if key not in new}
    assert deleted
    assert all("Blue" in key for key in deleted)


def test_selectors_of_deployments_know_no_endpoint() -> None:
    """A model can come behind an endpoint later: its immutable selector stays as is."""
    for deployment in of_kind(release("Blue"), "Deployment").values():
        assert ENDPOINT_LABEL not in deployment["spec"]["selector"]["matchLabels"]


def names_and_ids(template: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the names of all objects, and the ids of all resources."""
    objects = [
        f"{item['kind']}/{item['metadata']['name']}" for item in manifests(template)
    ]
    return objects, sorted(template["Resources"])


def test_names_stay_when_clients_call_the_model_otherwise() -> None:
    """Another display name changes a flag and the queries, and no name and no id."""
    first, second = release("Blue"), release("Blue", display="Mistral/Chat:2")
    assert names_and_ids(first) == names_and_ids(second)
    [container] = of_kind(second, "Deployment")["blue"]["spec"]["template"]["spec"][
        "containers"
    ]
    assert "--served-model-name=Mistral/Chat:2" in container["args"]
    for trigger in of_kind(second, "ScaledObject")["blue"]["spec"]["triggers"]:
        assert 'model_name="Mistral/Chat:2"' in trigger["metadata"]["query"]


def test_one_model_in_two_pools() -> None:
    """The same weights in two pools have one address, and scale on their own pods."""
    app = cdk.App(analytics_reporting=False)
    stack = cdk.Stack(app, "Stack")
    cluster = import_cluster(stack)
    endpoint = ModelEndpoint(stack, "Endpoint", cluster=cluster, name="chat")
    for gpu in (Accelerator.L4, Accelerator.A10G):
        name = gpu.name.lower()
        QueueScaledModel(
            stack,
            f"Chat{name}",
            pool=GpuInferencePool(
                stack, f"Gpu{name}", cluster=cluster, accelerators=[gpu], name=name
            ),
            model=make_model(name=f"chat-{name}", served_name="chat"),
            shared_endpoint=endpoint,
        )
    template = Template.from_stack(stack).to_json()
    objects = manifests(template)
    assert endpoints(objects, "chat") == {"chat-l4", "chat-a10g"}
    selectors = [
        item["spec"]["template"]["spec"]["nodeSelector"]["eks-inference/pool"]
        for item in of_kind(template, "Deployment").values()
    ]
    assert sorted(selectors) == ["a10g", "l4"]
    jobs = [
        trigger["metadata"]["query"].partition('job="')[2].partition('"')[0]
        for item in of_kind(template, "ScaledObject").values()
        for trigger in item["spec"]["triggers"]
    ]
    assert sorted(set(jobs)) == ["inference/chat-a10g", "inference/chat-l4"]


def test_fails_when_an_endpoint_has_the_name_of_a_model(stack: cdk.Stack) -> None:
    """Both would be a Service of that name."""
    cluster = import_cluster(stack)
    ModelEndpoint(stack, "Endpoint", cluster=cluster, name="mistral")
    pool = GpuInferencePool(stack, "Gpu", cluster=cluster)
    with pytest.raises(ConfigurationError, match="'name' of a model must be unique"):
        QueueScaledModel(stack, "Chat", pool=pool, model=make_model())


def test_endpoint_says_where_it_is(stack: cdk.Stack) -> None:
    """Clients reach every version under one address."""
    endpoint = ModelEndpoint(
        stack, "Endpoint", cluster=import_cluster(stack), name="chat", namespace="ns"
    )
    assert endpoint.endpoint == "http://chat.ns.svc:8000/v1"
    assert endpoint.served_name == "chat"


def chat(stack: cdk.Stack, **values: Any) -> QueueScaledModel:
    """Define a model with some values."""
    pool = GpuInferencePool(stack, "Gpu", cluster=import_cluster(stack))
    return QueueScaledModel(stack, "Chat", pool=pool, model=make_model(), **values)


def test_clients_of_a_sleeping_model_go_through_the_interceptor(
    stack: cdk.Stack,
) -> None:
    """The endpoint of a model that a request wakes is the interceptor's."""
    scaling = QueueScaling(min_replicas=0, activation=Activation.http())
    model = chat(stack, scaling=scaling)
    assert model.endpoint == "http://mistral-http.inference.svc:8080/v1"
    services = of_kind(Template.from_stack(stack).to_json(), "Service")
    assert services.keys() == {"mistral", "mistral-http"}


def test_key_is_in_no_template(stack: cdk.Stack) -> None:
    """The container reads the key from the Secret; flags and templates have none."""
    chat(stack, api_key=SecretKey("clients", "token"))
    template = Template.from_stack(stack).to_json()
    [pod] = of_kind(template, "Deployment").values()
    [container] = pod["spec"]["template"]["spec"]["containers"]
    assert container["env"][-1] == {
        "name": "VLLM_API_KEY",
        "valueFrom": {"secretKeyRef": {"name": "clients", "key": "token"}},
    }
    assert not any("api-key" in argument for argument in container["args"])
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] == "/health"


def policy_of(stack: cdk.Stack, grantee: iam.Role, model: QueueScaledModel) -> Any:
    """Return what KEDA's role may do after the grant."""
    grant = model.grant_scaling(grantee)
    policies = Template.from_stack(stack).find_resources("AWS::IAM::Policy")
    statements = [
        statement
        for policy in policies.values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]
    return grant, statements


def test_keda_may_read_the_queue_and_nothing_else(stack: cdk.Stack) -> None:
    """The grant is one action on one queue."""
    jobs = sqs.Queue.from_queue_arn(
        stack, "Jobs", "arn:aws:sqs:eu-central-1:111122223333:jobs"
    )
    scaling = QueueScaling(min_replicas=0, activation=Activation.queue(jobs))
    keda = iam.Role(stack, "Keda", assumed_by=iam.ServicePrincipal("pods.eks.aws"))
    grant, statements = policy_of(stack, keda, chat(stack, scaling=scaling))
    assert grant.success
    assert statements == [
        {
            "Action": "sqs:GetQueueAttributes",
            "Effect": "Allow",
            "Resource": "arn:aws:sqs:eu-central-1:111122223333:jobs",
        }
    ]


def test_keda_may_query_the_workspace_and_nothing_else(stack: cdk.Stack) -> None:
    """The grant is one action on one workspace."""
    arn = "arn:aws:aps:eu-central-1:111122223333:workspace/ws-1"
    signal = Signal.amp("https://x/workspaces/ws-1", workspace_arn=arn, region="a")
    keda = iam.Role(stack, "Keda", assumed_by=iam.ServicePrincipal("pods.eks.aws"))
    _, statements = policy_of(stack, keda, chat(stack, signal=signal))
    assert statements == [
        {"Action": "aps:QueryMetrics", "Effect": "Allow", "Resource": arn}
    ]


def test_keda_gets_nothing_where_it_asks_nothing_of_aws(stack: cdk.Stack) -> None:
    """Without a source in AWS the grant is empty, and no policy is made."""
    keda = iam.Role(stack, "Keda", assumed_by=iam.ServicePrincipal("pods.eks.aws"))
    _, statements = policy_of(stack, keda, chat(stack))
    assert statements == []
