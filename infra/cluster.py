"""The cluster: control plane, add-ons, and the few nodes that run the controllers."""

import importlib
from typing import Any, cast

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from eks_inference import ConfigurationError, ImageCache, PodIdentityRole
from infra.identity import (
    admit_administrator,
    admit_nodes,
    efs_csi_statements,
    node_role,
    secrets_key_statements,
)
from infra.settings import Settings
from infra.stack import PlatformStack, platform_tags
from infra.versions import SUPPORTED, Versions

_HANDLER_LOG_DAYS = 30

_SYSTEM_VOLUMES = {"/dev/xvda": 4, "/dev/xvdb": 40}
"""Bottlerocket's volumes in GiB: its own, and the one of images and containers."""

SYSTEM_TAINT = "CriticalAddonsOnly"
"""Taint of the controllers' nodes; Karpenter and CoreDNS tolerate it by default."""

_ANY_TAINT = {"tolerations": [{"operator": "Exists"}]}

_BEFORE_NODES: dict[str, dict[str, Any]] = {
    "vpc-cni": {"enableNetworkPolicy": "true"},
    "kube-proxy": {},
    "eks-pod-identity-agent": _ANY_TAINT,
}
"""Add-ons without which no node becomes ready; they are active without any node."""

_AFTER_NODES: dict[str, dict[str, Any]] = {
    "coredns": {},
    "aws-efs-csi-driver": {},
    # its GPU part would otherwise stay off the tainted GPU nodes
    "eks-node-monitoring-agent": {"dcgmAgent": _ANY_TAINT},
}
"""Add-ons that become active only when their pods run somewhere."""


class ClusterStack(PlatformStack):
    """EKS cluster of a stage."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        settings: Settings,
        vpc: ec2.IVpc,
        images: ImageCache,
    ) -> None:
        super().__init__(
            scope,
            id,
            settings=settings,
            description="LLM inference: EKS cluster, add-ons, system nodes",
        )
        versions = SUPPORTED[settings.kubernetes_version]
        if versions.caution:
            cdk.Annotations.of(self).add_warning_v2(
                "eks-inference:kubernetesVersion",
                f"'kubernetes_version' {versions.kubernetes}: {versions.caution}; "
                "use the default",
            )
        key = kms.Key(
            self,
            "SecretsKey",
            description=f"Kubernetes secrets of {settings.cluster_name}",
            enable_key_rotation=True,
            removal_policy=self.removal_policy,
        )
        self.cluster = self._cluster(settings, versions, vpc, key)
        cdk.CfnOutput(
            self,
            "Kubeconfig",
            value=f"aws eks update-kubeconfig --name {settings.cluster_name}",
            description="Command that points kubectl at the cluster",
        )
        self._admit_administrators(settings)
        role = node_role(self, "NodeRole", images=images)
        self.node_role = role
        self.node_profile = iam.InstanceProfile(self, "NodeProfile", role=role)
        admit_nodes(
            self,
            "Nodes",
            cluster_name=self.cluster.cluster_name,
            role_arn=role.role_arn,
        )
        # a role of their own: EKS makes and deletes the access entry of a node group
        self.system_node_role = node_role(self, "SystemNodeRole", images=images)
        self._add_addons(versions, self._system_nodes(settings, versions))

    def _add_addons(self, versions: Versions, nodes: eks.Nodegroup) -> None:
        for name, configuration in _BEFORE_NODES.items():
            nodes.node.add_dependency(self._addon(versions, name, configuration))
        self.efs_csi_role = PodIdentityRole(
            self,
            "EfsCsiRole",
            cluster=self.cluster,
            namespace="kube-system",
            service_account="efs-csi-controller-sa",
            statements=efs_csi_statements(self),
        )
        for name, configuration in _AFTER_NODES.items():
            addon = self._addon(versions, name, configuration)
            addon.node.add_dependency(nodes, self.efs_csi_role)

    def _addon(
        self, versions: Versions, name: str, configuration: dict[str, Any]
    ) -> eks.CfnAddon:
        return eks.CfnAddon(
            self,
            "".join(word.capitalize() for word in name.split("-")),
            cluster_name=self.cluster.cluster_name,
            addon_name=name,
            addon_version=versions.addons.get(name),
            configuration_values=(
                self.to_json_string(configuration) if configuration else None
            ),
            resolve_conflicts="OVERWRITE",
        )

    def _cluster(
        self, settings: Settings, versions: Versions, vpc: ec2.IVpc, key: kms.IKey
    ) -> eks.Cluster:
        # EKS would create this group itself, without an end and without a deletion
        log_group = logs.LogGroup(
            self,
            "ControlPlaneLogs",
            log_group_name=f"/aws/eks/{settings.cluster_name}/cluster",
            retention=logs.RetentionDays.THREE_MONTHS,
            removal_policy=self.removal_policy,
        )
        access = eks.EndpointAccess.PRIVATE
        if settings.public_access_cidrs:
            access = eks.EndpointAccess.PUBLIC_AND_PRIVATE.only_from(
                *settings.public_access_cidrs
            )
        types = eks.ClusterLoggingTypes
        cluster = eks.Cluster(
            self,
            "Cluster",
            cluster_name=settings.cluster_name,
            version=eks.KubernetesVersion.of(versions.kubernetes),
            vpc=vpc,
            vpc_subnets=[ec2.SubnetSelection(subnets=vpc.private_subnets)],
            endpoint_access=access,
            secrets_encryption_key=key,
            # the default is Auto Mode, which has no place for a Karpenter of our own
            default_capacity_type=eks.DefaultCapacityType.NODEGROUP,
            default_capacity=0,
            bootstrap_cluster_creator_admin_permissions=False,
            # each of them is a managed add-on below
            bootstrap_self_managed_addons=False,
            cluster_logging=[
                types.API,
                types.AUDIT,
                types.AUTHENTICATOR,
                types.CONTROLLER_MANAGER,
                types.SCHEDULER,
            ],
            kubectl_provider_options=eks.KubectlProviderOptions(
                kubectl_layer=_kubectl_layer(self, versions)
            ),
        )
        cluster.node.add_dependency(log_group)
        self._bound_handler_logs(cluster)
        for statement in secrets_key_statements(key.key_arn):
            cluster.role.add_to_principal_policy(
                iam.PolicyStatement.from_json(statement)
            )
        return cluster

    def _bound_handler_logs(self, cluster: eks.Cluster) -> None:
        # CDK keeps the logs of its handlers for two years, and after the stack
        provider = cluster.node.find_child("KubectlProvider")
        framework = provider.node.find_child("Provider")
        for function in (
            provider.node.find_child("Handler"),
            framework.node.find_child("framework-onEvent"),
        ):
            group = function.node.try_find_child("LogGroup")
            if isinstance(group, logs.LogGroup):
                resource = group.node.default_child
                assert isinstance(resource, logs.CfnLogGroup)
                resource.retention_in_days = _HANDLER_LOG_DAYS
                resource.apply_removal_policy(self.removal_policy)

    def _admit_administrators(self, settings: Settings) -> None:
        if not settings.admin_role_arns:
            cdk.Annotations.of(self).add_warning_v2(
                "eks-inference:noAdministrators",
                "'admin_role_arns' is empty, so that nobody can use kubectl; name a "
                "role in infra/stages.py",
            )
        for arn in settings.admin_role_arns:
            *_, account, principal = arn.split(":")
            admit_administrator(
                f"Administrator-{account}-{principal.replace('/', '-')}",
                cluster=self.cluster,
                role_arn=arn,
            )

    def _system_nodes(self, settings: Settings, versions: Versions) -> eks.Nodegroup:
        template = self._node_template(settings)
        nodes = eks.Nodegroup(
            self,
            "SystemNodes",
            cluster=cast("eks.ICluster", self.cluster),
            node_role=self.system_node_role,
            ami_type=eks.NodegroupAmiType.BOTTLEROCKET_X86_64,
            instance_types=[ec2.InstanceType(settings.system_nodes.instance_type)],
            min_size=settings.system_nodes.count,
            desired_size=settings.system_nodes.count,
            # room for a rolling replacement
            max_size=settings.system_nodes.count + 1,
            enable_node_auto_repair=True,
            # a pod that will not leave would fail the deployment that has just moved
            # the control plane, which does not go back
            force_update=True,
            launch_template_spec=eks.LaunchTemplateSpec(
                id=template.ref, version=template.attr_latest_version_number
            ),
            labels={"workload": "system"},
            taints=[
                eks.TaintSpec(
                    key=SYSTEM_TAINT, value="true", effect=eks.TaintEffect.NO_SCHEDULE
                )
            ],
        )
        group = nodes.node.default_child
        assert isinstance(group, eks.CfnNodegroup)
        # EKS leaves nodes where they are when the control plane moves. No release of
        # the image: its name ends in a hash that only EKS knows, who takes the newest
        group.version = versions.kubernetes
        return nodes

    def _node_template(self, settings: Settings) -> ec2.CfnLaunchTemplate:
        # what EKS would make by itself lets pods reach the node's credentials
        template = ec2.CfnLaunchTemplate
        tags = [
            cdk.CfnTag(key=key, value=value)
            for key, value in platform_tags(settings).items()
        ]
        return template(
            self,
            "SystemNodeTemplate",
            launch_template_data=template.LaunchTemplateDataProperty(
                metadata_options=template.MetadataOptionsProperty(
                    http_endpoint="enabled",
                    http_tokens="required",
                    http_put_response_hop_limit=1,
                ),
                block_device_mappings=[
                    template.BlockDeviceMappingProperty(
                        device_name=device,
                        ebs=template.EbsProperty(
                            encrypted=True,
                            delete_on_termination=True,
                            volume_type="gp3",
                            volume_size=size,
                        ),
                    )
                    for device, size in _SYSTEM_VOLUMES.items()
                ],
                tag_specifications=[
                    template.TagSpecificationProperty(resource_type=kind, tags=tags)
                    for kind in ("instance", "volume")
                ],
            ),
        )


def _kubectl_layer(scope: Construct, versions: Versions) -> lambda_.ILayerVersion:
    suffix = versions.kubectl_layer
    try:
        # one package for each version, of which an installation needs its own only
        module = importlib.import_module(f"aws_cdk.lambda_layer_kubectl_{suffix}")
    except ModuleNotFoundError as error:
        message = (
            f"'kubernetes_version' {versions.kubernetes} needs a kubectl that is not "
            f"installed; add aws-cdk.lambda-layer-kubectl-{suffix} to requirements.txt"
        )
        raise ConfigurationError([message]) from error
    layer: lambda_.ILayerVersion = getattr(module, f"Kubectl{suffix.upper()}Layer")(
        scope, "Kubectl"
    )
    return layer
