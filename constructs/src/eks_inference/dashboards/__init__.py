"""Dashboards of Grafana: scaling, latency, cost, cold start, and one for a model.

Plain Python. Grafana's own SDK renders them, and is loaded only then.
"""

from eks_inference.dashboards.cold_start import cold_start_dashboard
from eks_inference.dashboards.config_maps import SIDECAR_LABEL, config_maps
from eks_inference.dashboards.cost import NODE_LABELS_ALLOWED, cost_dashboard
from eks_inference.dashboards.latency import latency_dashboard
from eks_inference.dashboards.model import model_dashboard
from eks_inference.dashboards.scaling import scaling_dashboard
from eks_inference.dashboards.values import Dashboard, Kind, Panel, Query, Variable

__all__ = [
    "NODE_LABELS_ALLOWED",
    "SIDECAR_LABEL",
    "Dashboard",
    "Kind",
    "Panel",
    "Query",
    "Variable",
    "config_maps",
    "dashboards",
    "model_dashboard",
]


def dashboards() -> tuple[Dashboard, ...]:
    """Return the dashboards of a cluster: scaling, latency, cost, cold start."""
    return (
        scaling_dashboard(),
        latency_dashboard(),
        cost_dashboard(),
        cold_start_dashboard(),
    )
