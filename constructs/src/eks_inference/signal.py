"""Where the autoscaler reads how many requests run and wait."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from eks_inference._check import Problems
from eks_inference.metric import Metric, Series

IN_CLUSTER_PROMETHEUS = "http://kube-prometheus-stack-prometheus.monitoring.svc:9090"
"""Address of the server that the kube-prometheus-stack chart installs when release
and namespace are called ``kube-prometheus-stack`` and ``monitoring``."""

IN_CLUSTER_OTEL_SCALER = "keda-otel-scaler.keda.svc:4318"
"""Address of the add-on's scaler when its release is called ``keda-otel-scaler`` and
stands in the namespace ``keda``; 4318 speaks KEDA's own gRPC (kedify/otel-add-on at
f3acd93, helmchart/otel-add-on/values.yaml)."""

_MOST_REQUESTS = 1_000_000
"""No more requests run and wait; bounds what a broken pod can ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal(ABC):
    """The metric source that KEDA asks.

    Use a factory. Each is one way to the same numbers; they differ in what KEDA can
    know when the source is gone.

    Args:
        scrape_interval_seconds: How old a metric can be when it is read, in seconds.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.

    Example:
        ```python
        Signal.prometheus("http://prometheus.observability.svc:9090")
        ```
    """

    scrape_interval_seconds: int

    def __post_init__(self) -> None:
        with Problems("signal") as problems:
            problems.integer(
                "scrape_interval_seconds",
                self.scrape_interval_seconds,
                minimum=1,
                maximum=60,
            )
            self._check(problems)

    @staticmethod
    def prometheus(
        server_address: str = IN_CLUSTER_PROMETHEUS,
        *,
        scrape_interval_seconds: int = 5,
    ) -> "PrometheusSignal":
        """Read from a Prometheus server in the cluster, scraped every 5 seconds.

        Needs the Prometheus operator, whose PodMonitor the model brings along. An
        empty answer is an error, and an error never scales in: the safe default.

        Args:
            server_address: Address of the server. Default: where the
                kube-prometheus-stack chart puts it.
            scrape_interval_seconds: Time between two scrapes, in seconds. Default: 5.

        Raises:
            ConfigurationError: A value breaks a rule; all of them are named.
        """
        return PrometheusSignal(
            server_address=server_address,
            scrape_interval_seconds=scrape_interval_seconds,
        )

    @staticmethod
    def amp(
        query_url: str,
        *,
        workspace_arn: str,
        region: str,
        scrape_interval_seconds: int = 5,
    ) -> "AmpSignal":
        """Read from a workspace of Amazon Managed Service for Prometheus.

        Something must write to it: a Prometheus in the cluster by remote write, or a
        managed collector. KEDA asks with the role of its own service account, which
        ``QueueScaledModel.grant_scaling`` allows to query the workspace.

        Args:
            query_url: Address of the workspace without ``/api/v1/query``:
                ``https://aps-workspaces.<region>.amazonaws.com/workspaces/<id>``; may
                be a CDK token.
            workspace_arn: ARN of the workspace; may be a CDK token.
            region: Region of the workspace; may be a CDK token.
            scrape_interval_seconds: Time between two scrapes, in seconds. Managed
                collectors allow no less than 30. Default: 5.

        Raises:
            ConfigurationError: A value breaks a rule; all of them are named.
        """
        return AmpSignal(
            server_address=query_url,
            workspace_arn=workspace_arn,
            region=region,
            scrape_interval_seconds=scrape_interval_seconds,
        )

    @staticmethod
    def otel_scaler(
        scaler_address: str = IN_CLUSTER_OTEL_SCALER,
        *,
        scrape_interval_seconds: int = 5,
    ) -> "OtelScalerSignal":
        """Read from Kedify's open source OpenTelemetry add-on, a scaler beside KEDA.

        The add-on answers zero when its collector is gone: it cannot tell an outage
        from an idle model. Two more triggers make up for that: how many pods report,
        and how many there are. While none of them reports, the replicas stay.

        Args:
            scaler_address: Host and port of the add-on's gRPC server. Default: where
                the platform installs it.
            scrape_interval_seconds: Time between two scrapes, in seconds. Default: 5.

        Raises:
            ConfigurationError: A value breaks a rule; all of them are named.
        """
        return OtelScalerSignal(
            scaler_address=scaler_address,
            scrape_interval_seconds=scrape_interval_seconds,
        )

    @staticmethod
    def kedify(
        scaler_address: str = IN_CLUSTER_OTEL_SCALER,
        *,
        scrape_interval_seconds: int = 5,
    ) -> "KedifySignal":
        """Read with the trigger ``kedify-otel`` of Kedify's own build of KEDA.

        The trigger exists in no other build. Its names have no colon, so that the
        collector must rename vLLM's metrics. Blind as ``otel_scaler``, and mended
        likewise.

        Args:
            scaler_address: Host and port of the scaler's gRPC server. Default: where
                the platform installs it.
            scrape_interval_seconds: Time between two scrapes, in seconds. Default: 5.

        Raises:
            ConfigurationError: A value breaks a rule; all of them are named.
        """
        return KedifySignal(
            scaler_address=scaler_address,
            scrape_interval_seconds=scrape_interval_seconds,
        )

    @property
    @abstractmethod
    def sees_outage(self) -> bool:
        """Whether KEDA gets an error, and not a zero, when the source is gone."""

    @property
    @abstractmethod
    def adds_up(self) -> bool:
        """Whether one query can hold a whole formula."""

    @property
    def asks_aws(self) -> bool:
        """Whether KEDA must prove to AWS who it is."""
        return False

    @abstractmethod
    def query(self, metric: Metric, series: Series) -> str:
        """Return the query for one metric of one model.

        Args:
            metric: What is read, and how the pods' values become one.
            series: Whose.
        """

    @abstractmethod
    def trigger(self, name: str, query: str, threshold: int) -> dict[str, Any]:
        """Return the KEDA trigger that reads a query.

        Args:
            name: Name of the trigger, by which a formula knows it.
            query: The query.
            threshold: Value of the query at which one replica is full.
        """

    @abstractmethod
    def _check(self, problems: Problems) -> None:
        """Add what is wrong with the values of a signal's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusSignal(Signal):
    """A Prometheus server. Use ``Signal.prometheus``.

    Args:
        scrape_interval_seconds: How old a metric can be when it is read, in seconds.
        server_address: Address of the server, without credentials.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    server_address: str

    @property
    def sees_outage(self) -> bool:
        """KEDA gets an error when the source is gone."""
        return True

    @property
    def adds_up(self) -> bool:
        """One query can hold a whole formula."""
        return True

    def query(self, metric: Metric, series: Series) -> str:
        """Return PromQL that yields one number, or nothing without series."""
        selector = (
            f'namespace="{series.namespace}",job="{series.job}",'
            f'model_name="{series.served_name}"'
        )
        # one number for all pods: KEDA refuses a query that returns two
        return f"{metric.aggregate}({metric.name}{{{selector}}})"

    def trigger(self, name: str, query: str, threshold: int) -> dict[str, Any]:
        """Return a trigger of type ``prometheus``."""
        return {
            "type": "prometheus",
            "name": name,
            "metadata": {
                "serverAddress": self.server_address,
                "query": query,
                # required by KEDA, and unused where a formula exists
                "threshold": str(threshold),
                # an empty answer is an error, and so a case for the fallback
                "ignoreNullValues": "false",
            },
        }

    def _check(self, problems: Problems) -> None:
        problems.matches(
            "server_address",
            self.server_address,
            r"https?://[^\s@]+",
            rule="an http(s) address without credentials",
            repair=f"for example {IN_CLUSTER_PROMETHEUS!r}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AmpSignal(PrometheusSignal):
    """A workspace of Amazon Managed Service for Prometheus. Use ``Signal.amp``.

    Args:
        scrape_interval_seconds: How old a metric can be when it is read, in seconds.
        server_address: Address of the workspace.
        workspace_arn: ARN of the workspace.
        region: Region of the workspace.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    workspace_arn: str
    region: str

    @property
    def asks_aws(self) -> bool:
        """KEDA signs its queries."""
        return True

    def trigger(self, name: str, query: str, threshold: int) -> dict[str, Any]:
        """Return a trigger of type ``prometheus`` whose queries are signed."""
        trigger = PrometheusSignal.trigger(self, name, query, threshold)
        trigger["metadata"]["awsRegion"] = self.region
        return trigger

    def _check(self, problems: Problems) -> None:
        problems.matches(
            "query_url",
            self.server_address,
            r"https://[^\s@]+|\S*\$\{Token\[\S+\]\}\S*",
            rule="the https address of a workspace",
            repair="https://aps-workspaces.<region>.amazonaws.com/workspaces/<id>",
        )
        problems.text("workspace_arn", self.workspace_arn)
        problems.text("region", self.region)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtelScalerSignal(Signal):
    """The OpenTelemetry add-on. Use ``Signal.otel_scaler``.

    Args:
        scrape_interval_seconds: How old a metric can be when it is read, in seconds.
        scaler_address: Host and port of the add-on's gRPC server.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    scaler_address: str

    @property
    def sees_outage(self) -> bool:
        """The add-on answers zero for series that are stale."""
        return False

    @property
    def adds_up(self) -> bool:
        """A query is one metric, without arithmetic."""
        return False

    def query(self, metric: Metric, series: Series) -> str:
        """Return the add-on's query: one aggregate of one metric, exact labels."""
        selector = f"deployment={series.name},namespace={series.namespace}"
        return f"{metric.aggregate}({metric.name}{{{selector}}})"

    def trigger(self, name: str, query: str, threshold: int) -> dict[str, Any]:
        """Return a trigger of type ``external`` for the add-on's server."""
        return {
            "type": "external",
            "name": name,
            "metadata": {
                "scalerAddress": self.scaler_address,
                "metricQuery": query,
                "operationOverTime": "last_one",
                "targetValue": str(threshold),
                "clampMin": "0",
                "clampMax": str(_MOST_REQUESTS),
            },
        }

    def _check(self, problems: Problems) -> None:
        problems.matches(
            "scaler_address",
            self.scaler_address,
            r"[a-z0-9.-]+:\d{1,5}",
            rule="a host and a port",
            repair=f"for example {IN_CLUSTER_OTEL_SCALER!r}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KedifySignal(OtelScalerSignal):
    """The trigger of Kedify's KEDA. Use ``Signal.kedify``.

    Args:
        scrape_interval_seconds: How old a metric can be when it is read, in seconds.
        scaler_address: Host and port of the scaler's gRPC server.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    def query(self, metric: Metric, series: Series) -> str:
        """Return the query, in the names that the collector has made of vLLM's."""
        return OtelScalerSignal.query(self, metric, series).replace(":", "_")

    def trigger(self, name: str, query: str, threshold: int) -> dict[str, Any]:
        """Return a trigger of type ``kedify-otel``."""
        trigger = OtelScalerSignal.trigger(self, name, query, threshold)
        trigger["type"] = "kedify-otel"
        return trigger
