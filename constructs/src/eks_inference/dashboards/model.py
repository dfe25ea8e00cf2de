"""One model, for an application whose cluster has no dashboards of its own."""

from hashlib import sha256

from eks_inference._check import Problems
from eks_inference.dashboards.cold_start import last_starts
from eks_inference.dashboards.latency import cache, finished, first_token, token_rate
from eks_inference.dashboards.scaling import queue_and_replicas
from eks_inference.dashboards.scope import Scope
from eks_inference.dashboards.values import Dashboard

_UID_LIMIT = 40
"""Longest identity of a dashboard (Grafana's HTTP API, Dashboard, ``uid``)."""


def model_dashboard(*, namespace: str, name: str, served_name: str) -> Dashboard:
    """Return the dashboard of one model: load, latency, output, memory, starts.

    Args:
        namespace: Namespace of the model's objects.
        name: Name of the model's objects.
        served_name: Name under which clients ask for the model.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    with Problems("dashboard") as problems:
        problems.dns_label("namespace", namespace)
        problems.dns_label("name", name)
        problems.text("served_name", served_name)
    scope = Scope(namespace, name, served_name)
    # names may be longer than an identity, and two pairs must not give the same one
    identity = sha256(f"{namespace}/{name}".encode()).hexdigest()
    return Dashboard(
        uid=f"eks-inference-{identity}"[:_UID_LIMIT],
        title=f"LLM inference: {namespace}/{name}",
        description=f"The model that clients know as {served_name}.",
        panels=(
            queue_and_replicas(scope),
            first_token(scope),
            token_rate(scope),
            finished(scope),
            cache(scope),
            last_starts(scope),
        ),
    )
