"""Where the autoscaler reads how many requests run and wait."""

from dataclasses import dataclass
from typing import Self

from eks_inference._check import Problems

IN_CLUSTER_PROMETHEUS = "http://kube-prometheus-stack-prometheus.monitoring.svc:9090"
"""Address of the server that the kube-prometheus-stack chart installs when release
and namespace are called ``kube-prometheus-stack`` and ``monitoring``."""


@dataclass(frozen=True, slots=True)
class Signal:
    """The metric source that KEDA asks.

    Use the factory.

    Args:
        server_address: Address of a Prometheus server, without credentials.
        scrape_interval_seconds: How old a metric can be when it is read, in seconds.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.

    Example:
        ```python
        Signal.prometheus("http://prometheus.observability.svc:9090")
        ```
    """

    server_address: str
    scrape_interval_seconds: int

    def __post_init__(self) -> None:
        with Problems("signal") as problems:
            problems.matches(
                "server_address",
                self.server_address,
                r"https?://[^\s@]+",
                rule="an http(s) address without credentials",
                repair=f"for example {IN_CLUSTER_PROMETHEUS!r}",
            )
            interval = self.scrape_interval_seconds
            problems.integer("scrape_interval_seconds", interval, minimum=1, maximum=60)

    @classmethod
    def prometheus(
        cls,
        server_address: str = IN_CLUSTER_PROMETHEUS,
        *,
        scrape_interval_seconds: int = 5,
    ) -> Self:
        """Read from a Prometheus server in the cluster, scraped every 5 seconds.

        Needs the Prometheus operator, whose PodMonitor the model brings along.

        Args:
            server_address: Address of the server. Default: where the
                kube-prometheus-stack chart puts it.
            scrape_interval_seconds: Time between two scrapes, in seconds. Default: 5.

        Raises:
            ConfigurationError: A value breaks a rule; all of them are named.
        """
        return cls(server_address, scrape_interval_seconds)
