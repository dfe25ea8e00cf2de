"""What a model shows of itself, and when it calls somebody."""

from dataclasses import dataclass, field

from eks_inference._check import Problems
from eks_inference.manifests.alerts import RUNBOOKS
from eks_inference.objective import LatencyObjective


@dataclass(frozen=True, slots=True, kw_only=True)
class Observability:
    """Alerts and a dashboard that a model brings along.

    Args:
        objective: What users may expect of the model's speed. Default: 95 % of the
            requests have their first token within 2.5 s.
        alerts: Whether a PrometheusRule comes with the model. Default: True.
        dashboard: Whether a ConfigMap with the model's dashboard comes with it, which
            the sidecar of Grafana's chart finds in any namespace. Default: True; an
            app whose cluster has dashboards for all models leaves it out.
        runbook_url: Address of the runbooks, to which each alert points with an anchor.
            Default: their path in this library's project.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.

    Example:
        ```python
        Observability(
            objective=LatencyObjective(ttft_seconds=1.0, share=0.99),
            runbook_url="https://wiki.example.com/llm/runbooks",
        )
        ```
    """

    objective: LatencyObjective = field(default_factory=LatencyObjective)
    alerts: bool = True
    dashboard: bool = True
    runbook_url: str = RUNBOOKS

    def __post_init__(self) -> None:
        with Problems("observability") as problems:
            problems.instance("objective", self.objective, LatencyObjective)
            problems.flag("alerts", self.alerts)
            problems.flag("dashboard", self.dashboard)
            problems.matches(
                "runbook_url",
                self.runbook_url,
                r"[^\s#]+",
                rule="an address without an anchor",
                repair="for example 'https://wiki.example.com/runbooks'",
            )

    @classmethod
    def off(cls) -> "Observability":
        """Return what brings nothing along: no alert, no dashboard."""
        return cls(alerts=False, dashboard=False)
