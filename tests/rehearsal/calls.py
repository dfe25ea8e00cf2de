"""The API calls that create what the emulator's CloudFormation does not know.

CloudFormation's properties are those of the service's API in another spelling, so that
a resource can be created by the API where the emulator has it, and be held against the
API's own description where it has not. Sources: the service descriptions of botocore,
and the "AWS resource and property types reference" of the CloudFormation user guide.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Properties = Mapping[str, Any]
"""Properties of a resource, with every reference resolved."""


@dataclass(frozen=True)
class Request:
    """A call of an API.

    Args:
        service: Name of the service in boto3.
        operation: Name of the operation in boto3.
        parameters: What is sent.
    """

    service: str
    operation: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Calls:
    """How a type of resource is made and unmade.

    Args:
        create: Makes the calls from the properties and a name that CloudFormation
            would generate.
        delete: The same for the deletion. Default: nothing to call, since it goes with
            what it belongs to, or the emulator's API has nothing of its kind.
        name: Property that is the physical id. Default: the generated name is.
        unmade: Why the calls are held against the API's description and not made.
            Default: they are made.
    """

    create: Callable[[Properties, str], list[Request]]
    delete: Callable[[Properties, str], list[Request]] = lambda _, __: []
    name: str | None = None
    unmade: str | None = None


NO_API = "the emulator has no such API"

_NO_CONDITIONS = "the emulator reads it without its conditions"
"""A denial of plain HTTP would deny everything: ``moto/s3/models.py`` says so."""

_VERBATIM = {"Labels", "Tags"}
"""Properties whose keys are the user's."""


def api_spelling(value: Any) -> Any:
    """Return properties as EKS and ECR spell them: names begin in lower case."""
    if isinstance(value, Mapping):
        return {
            key[:1].lower() + key[1:]: item if key in _VERBATIM else api_spelling(item)
            for key, item in value.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [api_spelling(item) for item in value]
    return value


def _without(properties: Properties, *names: str) -> dict[str, Any]:
    return {key: item for key, item in properties.items() if key not in names}


def _plain(service: str, operation: str) -> Callable[[Properties, str], list[Request]]:
    return lambda properties, _: [Request(service, operation, api_spelling(properties))]


def _cluster(properties: Properties, _: str) -> list[Request]:
    parameters = api_spelling(_without(properties, "Logging"))
    if "Logging" in properties:
        types = properties["Logging"]["ClusterLogging"]["EnabledTypes"]
        parameters["logging"] = {
            "clusterLogging": [
                {"types": [item["Type"] for item in types], "enabled": True}
            ]
        }
    return [Request("eks", "create_cluster", parameters)]


def _nodegroup(properties: Properties, name: str) -> list[Request]:
    # the API knows the flag when it updates, and asks for a name
    parameters = api_spelling(_without(properties, "ForceUpdateEnabled"))
    return [Request("eks", "create_nodegroup", {"nodegroupName": name, **parameters})]


def _access_entry(properties: Properties, _: str) -> list[Request]:
    entry = {key: properties[key] for key in ("ClusterName", "PrincipalArn")}
    return [
        Request(
            "eks",
            "create_access_entry",
            api_spelling(_without(properties, "AccessPolicies")),
        ),
        *(
            Request("eks", "associate_access_policy", api_spelling({**entry, **policy}))
            for policy in properties.get("AccessPolicies", ())
        ),
    ]


def _queue_policy(properties: Properties, _: str) -> list[Request]:
    attributes = {"Policy": json.dumps(properties["PolicyDocument"])}
    return [
        Request(
            "sqs", "set_queue_attributes", {"QueueUrl": queue, "Attributes": attributes}
        )
        for queue in properties["Queues"]
    ]


def _topic_policy(properties: Properties, _: str) -> list[Request]:
    return [
        Request(
            "sns",
            "set_topic_attributes",
            {
                "TopicArn": topic,
                "AttributeName": "Policy",
                "AttributeValue": json.dumps(properties["PolicyDocument"]),
            },
        )
        for topic in properties["Topics"]
    ]


def _bucket_policy(properties: Properties, _: str) -> list[Request]:
    policy = json.dumps(properties["PolicyDocument"])
    bucket = properties["Bucket"]
    return [Request("s3", "put_bucket_policy", {"Bucket": bucket, "Policy": policy})]


CALLS = {
    "AWS::CloudWatch::Alarm": Calls(
        create=lambda properties, name: [
            Request("cloudwatch", "put_metric_alarm", {"AlarmName": name, **properties})
        ],
        delete=lambda properties, name: [
            Request(
                "cloudwatch",
                "delete_alarms",
                {"AlarmNames": [properties.get("AlarmName", name)]},
            )
        ],
        name="AlarmName",
    ),
    "AWS::ECR::PullThroughCacheRule": Calls(
        create=_plain("ecr", "create_pull_through_cache_rule"),
        name="EcrRepositoryPrefix",
        unmade=NO_API,
    ),
    "AWS::ECR::RepositoryCreationTemplate": Calls(
        create=_plain("ecr", "create_repository_creation_template"),
        name="Prefix",
        unmade=NO_API,
    ),
    "AWS::EKS::AccessEntry": Calls(create=_access_entry, unmade=NO_API),
    "AWS::EKS::Addon": Calls(create=_plain("eks", "create_addon"), unmade=NO_API),
    "AWS::EKS::Cluster": Calls(
        create=_cluster,
        delete=lambda properties, _: [
            Request("eks", "delete_cluster", {"name": properties["Name"]})
        ],
        name="Name",
    ),
    "AWS::EKS::Nodegroup": Calls(
        create=_nodegroup,
        delete=lambda properties, name: [
            Request(
                "eks",
                "delete_nodegroup",
                {
                    "clusterName": properties["ClusterName"],
                    "nodegroupName": properties.get("NodegroupName", name),
                },
            )
        ],
        name="NodegroupName",
    ),
    "AWS::EKS::PodIdentityAssociation": Calls(
        create=_plain("eks", "create_pod_identity_association"), unmade=NO_API
    ),
    "AWS::S3::BucketPolicy": Calls(create=_bucket_policy, unmade=_NO_CONDITIONS),
    "AWS::SNS::TopicPolicy": Calls(create=_topic_policy),
    "AWS::SQS::QueuePolicy": Calls(create=_queue_policy),
    # moto's own asks for a name, which the user guide leaves to CloudFormation
    "AWS::SSM::Parameter": Calls(
        create=lambda properties, name: [
            Request("ssm", "put_parameter", {"Name": name, **properties})
        ],
        delete=lambda properties, name: [
            Request("ssm", "delete_parameter", {"Name": properties.get("Name", name)})
        ],
        name="Name",
    ),
}
"""Types of resources by the calls that make them."""
