"""The emulator: moto's server, whose CloudFormation knows a few types more.

What is added creates each resource through the emulator's own API, as
CloudFormation does at AWS. Where the emulator has no such API, the call is held against
the API's description and nothing is created. The functions behind custom resources are
not run.
"""

import os
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Self

import boto3  # type: ignore[import-untyped]
from botocore.validate import validate_parameters  # type: ignore[import-untyped]
from moto.cloudformation import parsing
from moto.core.common_models import CloudFormationModel

from tests.rehearsal.calls import CALLS, Calls, Properties, Request
from tests.rehearsal.deletions import DELETIONS, KEPT, Deletion, deletion_order


@cache
def _client(service: str, region: str) -> Any:
    return boto3.client(
        service,
        region_name=region,
        # the server itself, which answers every request in a thread of its own
        endpoint_url=f"http://127.0.0.1:{os.environ['MOTO_PORT']}",
        aws_access_key_id="emulator",
        aws_secret_access_key="emulator",
    )


def as_described(value: Any, shape: Any) -> Any:
    """Return a value with the numbers as texts where the API asks for texts.

    CloudFormation converts them, for example the version of a launch template.

    Args:
        value: A parameter.
        shape: What the API says of it.
    """
    if shape.type_name == "structure" and isinstance(value, dict):
        return {
            key: as_described(item, shape.members[key])
            if key in shape.members
            else item
            for key, item in value.items()
        }
    if shape.type_name == "list" and isinstance(value, list):
        return [as_described(item, shape.member) for item in value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if shape.type_name == "string" and is_number else value


def perform(requests: Iterable[Request], region: str, *, make: bool = True) -> None:
    """Hold calls against the API's description, and make them.

    Args:
        requests: The calls.
        region: Where they go.
        make: Whether they are made. Default: yes.

    Raises:
        ParamValidationError: The API takes no such parameters.
        ClientError: The emulator refuses.
    """
    for request in requests:
        client = _client(request.service, region)
        name = client.meta.method_to_api_mapping[request.operation]
        shape = client.meta.service_model.operation_model(name).input_shape
        parameters = as_described(request.parameters, shape)
        validate_parameters(parameters, shape)
        if make:
            getattr(client, request.operation)(**parameters)


class _Resource(CloudFormationModel):
    """A resource by its physical id."""

    def __init__(self, physical_id: str) -> None:
        self.physical_resource_id = physical_id

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return bool(attr)

    def is_created(self) -> bool:
        return True


class CustomResource(_Resource):
    """A custom resource whose function is not run."""

    @staticmethod
    def cloudformation_type() -> str:
        return "Custom::"

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,  # noqa: ARG003 - moto's signature
        region_name: str,
        **_: Any,
    ) -> Self:
        token = cloudformation_json["Properties"]["ServiceToken"]
        # that there is such a function
        _client("lambda", region_name).get_function(FunctionName=token)
        return cls(resource_name)

    def delete(self, account_id: str, region: str) -> None:
        """Do nothing, since nothing was made."""


class ApiResource(_Resource):
    """A resource that is made by API calls."""

    calls: Calls

    def __init__(self, properties: Properties, name: str, region: str) -> None:
        by_name = properties.get(self.calls.name, name) if self.calls.name else name
        super().__init__(by_name)
        self.properties = properties
        self.name = name
        make = self.calls.unmade is None
        perform(self.calls.create(properties, name), region, make=make)

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,  # noqa: ARG003 - moto's signature
        region_name: str,
        **_: Any,
    ) -> Self:
        return cls(cloudformation_json["Properties"], resource_name, region_name)

    def delete(self, _: str, region: str) -> None:
        """Unmake it."""
        perform(self.calls.delete(self.properties, self.name), region)


class Cluster(ApiResource):
    """A cluster of EKS with the security group that EKS makes for it."""

    calls = CALLS["AWS::EKS::Cluster"]

    def __init__(self, properties: Properties, name: str, region: str) -> None:
        super().__init__(properties, name, region)
        eks, ec2 = _client("eks", region), _client("ec2", region)
        cluster = eks.describe_cluster(name=self.physical_resource_id)["cluster"]
        self._attributes: dict[str, str] = {"Arn": cluster["arn"]}
        subnets = properties["ResourcesVpcConfig"]["SubnetIds"]
        (vpc,) = {
            subnet["VpcId"]
            for subnet in ec2.describe_subnets(SubnetIds=subnets)["Subnets"]
        }
        group = ec2.create_security_group(
            GroupName=f"eks-cluster-sg-{self.physical_resource_id}",
            Description="made by the emulator in the place of EKS",
            VpcId=vpc,
        )
        self._attributes["ClusterSecurityGroupId"] = group["GroupId"]

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::EKS::Cluster"

    def get_cfn_attribute(self, attribute_name: str) -> str:
        """Return an attribute; others than the app's are unknown."""
        return self._attributes[attribute_name]

    def delete(self, account: str, region: str) -> None:
        """Unmake it with its security group."""
        super().delete(account, region)
        _client("ec2", region).delete_security_group(
            GroupId=self._attributes["ClusterSecurityGroupId"]
        )


def _model(kind: str, calls: Calls) -> type[ApiResource]:
    return type(
        kind.replace("::", ""),
        (ApiResource,),
        {"calls": calls, "cloudformation_type": staticmethod(lambda: kind)},
    )


def _delete_with(kind: str, deletion: Deletion) -> Callable[[Any, str, str], None]:
    service = kind.split("::")[1].lower()

    def delete(self: Any, _: str, region: str) -> None:
        deletion(_client(service, region), self)

    return delete


def _delete_all(self: parsing.ResourceMap) -> None:
    resources = self._resource_json_map
    for name in deletion_order(resources):
        made = self._parsed_resources.get(name)
        if made is not None and resources[name].get("DeletionPolicy") not in KEPT:
            self._delete_resource(made, resources[name])


def teach() -> None:
    """Add the types to moto's CloudFormation."""
    known: dict[str, Any] = parsing.get_model_map()
    known.update({kind: _model(kind, calls) for kind, calls in CALLS.items()})
    known["AWS::EKS::Cluster"] = Cluster
    for kind, deletion in DELETIONS.items():
        setattr(known[kind], "delete", _delete_with(kind, deletion))  # noqa: B010
    # moto's own tries in any order, again and again
    setattr(parsing.ResourceMap, "delete", _delete_all)  # noqa: B010
    # moto's own would wait for the answer of a function that runs in Docker
    setattr(parsing, "CustomModel", CustomResource)  # noqa: B010
