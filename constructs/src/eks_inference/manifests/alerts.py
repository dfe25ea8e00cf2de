"""Alerts of a model and of a cluster, as objects of the Prometheus operator.

An alert of a model speaks of one model: its expression has no label but that of a pod,
where pods matter, and the rule adds ``namespace`` and ``model``. Where there is no
traffic and no pod, an expression has no value, so that nothing fires and nothing is
divided by zero.

The guide's table of alerts, and what became of it:

- Queue depth above 10 and 50 for a minute: ``InferenceQueue``, as the guide has it.
- Failed requests above 1 and 5 %: ``InferenceFailures``, for five minutes, because the
  guide names no time and one failure of three requests at night is 33 %.
- GPU memory above 90 and 95 %: ``InferenceCacheFull``, of the KV cache and of requests
  that are preempted for lack of it. vLLM takes nine tenths of the memory when it starts
  and keeps it: the guide's alert would always fire. What runs out is the room within.
- P99 latency above 10 and 30 s: ``InferenceFirstTokenSlow``, ``InferenceTokensSlow``
  and ``InferenceBudgetBurn``. The end of an answer comes later the longer it is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from eks_inference.manifests import Manifest

RUNBOOKS = "docs/runbooks.md"
"""Where the runbooks are: a path in this repository, which has no fixed address. With
the address of a copy, whoever is told can follow the link."""

_API_VERSION = "monitoring.coreos.com/v1"


class Severity(StrEnum):
    """How soon somebody must look: when there is time, or now, since users wait."""

    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One rule: when it fires, and what it tells.

    Args:
        name: Name of the alert; alerts that differ in their severity may share it.
        expr: PromQL that has a value while something is wrong.
        severity: How soon somebody must look.
        summary: One sentence; may contain Prometheus' templates.
        hold: How long it must be wrong before the alert fires, as Prometheus writes
            durations. Default: not at all.
        every: How often the rule is evaluated. Default: as often as the server does.
    """

    name: str
    expr: str
    severity: Severity
    summary: str
    hold: str | None = None
    every: str | None = None

    @property
    def anchor(self) -> str:
        """Section of the runbooks, as GitHub makes an anchor of a heading."""
        return self.name.lower()


def prometheus_rule(
    alerts: Iterable[Alert],
    *,
    name: str,
    namespace: str,
    labels: dict[str, str],
    alert_labels: dict[str, str],
    runbook_url: str = RUNBOOKS,
) -> Manifest:
    """Return alerts as one object, in a group for each pace of evaluation.

    Args:
        alerts: What it holds.
        name: Name of the object, and of its groups.
        namespace: Namespace of the object.
        labels: Labels of the object.
        alert_labels: Labels that every alert gets, beside its severity.
        runbook_url: Address of the runbooks. Default: ``docs/runbooks.md``.
    """
    groups: dict[str | None, list[Manifest]] = {}
    for alert in alerts:
        rule = {
            "alert": alert.name,
            "expr": alert.expr,
            **({"for": alert.hold} if alert.hold else {}),
            "labels": {**alert_labels, "severity": str(alert.severity)},
            "annotations": {
                "summary": alert.summary,
                "runbook_url": f"{runbook_url}#{alert.anchor}",
            },
        }
        groups.setdefault(alert.every, []).append(rule)
    return {
        "apiVersion": _API_VERSION,
        "kind": "PrometheusRule",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "groups": [
                {"name": name, "rules": rules}
                if every is None
                else {"name": f"{name}-{every}", "interval": every, "rules": rules}
                for every, rules in groups.items()
            ]
        },
    }
