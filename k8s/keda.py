"""How KEDA proves to AWS who it is."""

from eks_inference.manifests import Manifest
from k8s.chart import add, new_chart, rendered

KEDA_NAMESPACE = "keda"

AWS_AUTHENTICATION = "aws-pod-identity"
"""Name that a trigger of any namespace uses to ask AWS with KEDA's own role."""


def trigger_authentication_chart() -> list[Manifest]:
    """Return the authentication of triggers that ask AWS."""
    chart = new_chart("keda")
    add(
        chart,
        [
            {
                "apiVersion": "keda.sh/v1alpha1",
                "kind": "ClusterTriggerAuthentication",
                "metadata": {"name": AWS_AUTHENTICATION},
                "spec": {"podIdentity": {"provider": "aws"}},
            }
        ],
    )
    return rendered(chart)
