"""The alerts that exist once for a cluster: its nodes, and the imports of models."""

from eks_inference._check import Problems
from eks_inference.manifests import NVIDIA_GPU, Manifest
from eks_inference.manifests.alerts import RUNBOOKS, Alert, Severity, prometheus_rule
from eks_inference.metric_names import (
    JOB_FAILED,
    NODE_ALLOCATABLE,
    NODE_CONDITION,
    NODE_TAINT,
    NODECLAIM_CONDITION_SECONDS,
    NODECLAIMS_DISRUPTED,
)

CLUSTER_RULE = "llm-inference"
"""Name of the cluster's PrometheusRule."""

_INITIALIZED_SECONDS = 900
"""Age at which a node should long be ready. Karpenter itself gives up a node that does
not join after 15 min (sigs.k8s.io/karpenter, registrationTTL); what joins and does not
become ready stays, and is paid for."""

_GPU_RESOURCE = "nvidia_com_gpu"
"""What kube-state-metrics makes of the name of the GPUs' resource."""

_IMPORT_JOBS = ".+-import(-[0-9a-f]{10})?"
"""Names of the Jobs that import models."""


def cluster_rule(
    *,
    namespace: str,
    spot_interruptions: int = 3,
    runbook_url: str = RUNBOOKS,
) -> Manifest:
    """Return the alerts of a cluster as a PrometheusRule.

    Args:
        namespace: Namespace of the object.
        spot_interruptions: Interruptions of a pool's spot nodes within an hour above
            which capacity is scarce rather than bad luck. Default: 3. Assumed.
        runbook_url: Address of the runbooks. Default: ``docs/runbooks.md``.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    with Problems("alerts") as problems:
        problems.dns_label("namespace", namespace)
        problems.integer(
            "spot_interruptions", spot_interruptions, minimum=0, maximum=1_000
        )
        problems.text("runbook_url", runbook_url)
    return prometheus_rule(
        cluster_alerts(spot_interruptions=spot_interruptions),
        name=CLUSTER_RULE,
        namespace=namespace,
        labels={},
        alert_labels={},
        runbook_url=runbook_url,
    )


def cluster_alerts(*, spot_interruptions: int = 3) -> list[Alert]:
    """Return the alerts of a cluster.

    Args:
        spot_interruptions: Interruptions of a pool's spot nodes within an hour that are
            borne in silence. Default: 3.
    """
    uninitialized = 'type="Initialized",status!="True"'
    ready = f'max by (node) ({NODE_CONDITION}{{condition="Ready",status="true"}}) == 1'
    meant = f'max by (node) ({NODE_TAINT}{{key="{NVIDIA_GPU}"}})'
    gpus = f'max by (node) ({NODE_ALLOCATABLE}{{resource="{_GPU_RESOURCE}"}}) > 0'
    interrupted = f'{NODECLAIMS_DISRUPTED}{{reason="spot_interrupted"}}[1h]'
    failed = f'{JOB_FAILED}{{job_name=~"{_IMPORT_JOBS}",condition="true"}}'
    return [
        Alert(
            name="InferenceNodeNotInitialized",
            expr=(
                f"max by (name) ({NODECLAIM_CONDITION_SECONDS}{{{uninitialized}}}) "
                f"> {_INITIALIZED_SECONDS}"
            ),
            severity=Severity.WARNING,
            summary="node claim {{ $labels.name }} is paid for and cannot be used",
        ),
        Alert(
            name="InferenceNodeWithoutGpu",
            expr=f"{ready} and {meant} unless {gpus}",
            hold="10m",
            severity=Severity.WARNING,
            summary="node {{ $labels.node }} is ready and offers no GPU",
        ),
        Alert(
            name="InferenceSpotInterruptions",
            expr=f"sum by (nodepool) (increase({interrupted})) > {spot_interruptions}",
            severity=Severity.WARNING,
            summary=(
                "pool {{ $labels.nodepool }}: {{ $value | humanize }} spot "
                "interruptions in an hour"
            ),
        ),
        Alert(
            name="InferenceImportFailed",
            expr=f"max by (namespace, job_name) ({failed}) == 1",
            severity=Severity.CRITICAL,
            summary="{{ $labels.job_name }} was given up; its model is not there",
        ),
    ]
