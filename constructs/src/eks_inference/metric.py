"""One number of a model, as its pods report it and a scaler adds it up."""

from dataclasses import dataclass
from enum import StrEnum

from eks_inference._check import Problems

METRIC_PATTERN = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
"""Names that Prometheus allows (prometheus/common, ``IsValidLegacyMetricName``)."""


class Aggregate(StrEnum):
    """How the values of all pods become one. Each signal can do all of these.

    Example:
        ```python
        Metric("vllm:num_requests_running", Aggregate.COUNT)  # pods that report
        ```
    """

    SUM = "sum"
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Metric:
    """A gauge of vLLM, taken together over the pods of one model.

    Args:
        name: Name of the gauge, as vLLM exposes it: ``vllm:num_requests_running``.
        aggregate: How the values of the pods become one. A scaler divides the result
            by a target per replica, so what is not a sum or a count does not grow with
            the number of replicas. Default: their sum.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.

    Example:
        ```python
        Metric("vllm:kv_cache_usage_perc")
        ```
    """

    name: str
    aggregate: Aggregate = Aggregate.SUM

    def __post_init__(self) -> None:
        with Problems("metric") as problems:
            if problems.matches(
                "name",
                self.name,
                METRIC_PATTERN,
                rule="the name of a metric",
                repair="for example 'vllm:num_requests_running'",
            ) and self.name.startswith("vllm_"):
                problems.add(
                    "'name' must be as vLLM exposes it, with a colon, got "
                    f"{self.name!r}; write {self.name.replace('vllm_', 'vllm:', 1)!r}"
                )
            problems.instance("aggregate", self.aggregate, Aggregate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Whose series a query selects: those of one model's pods.

    Args:
        namespace: Namespace of the pods.
        name: Name of the model's Kubernetes objects.
        served_name: Name of the model, as vLLM labels its series with it.
    """

    namespace: str
    name: str
    served_name: str

    @property
    def job(self) -> str:
        """Label that the Prometheus operator gives to what a PodMonitor scrapes."""
        return f"{self.namespace}/{self.name}"
