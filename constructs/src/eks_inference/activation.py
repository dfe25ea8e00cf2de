"""What wakes a model that has no replica."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from eks_inference._check import Problems

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN")
_MORE_MONTHS = ("JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

_CRON_FIELDS: tuple[tuple[int, int, tuple[str, ...]], ...] = (
    (0, 59, ()),
    (0, 23, ()),
    (1, 31, ()),
    (1, 12, (*_MONTHS, *_MORE_MONTHS)),
    (0, 6, _DAYS),
)
"""Lowest value, highest value and names of minute, hour, day, month and weekday."""

_HOST = r"(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
"""A host name, or one with a wildcard for its first label."""


class MessageQueue(Protocol):
    """The part of ``aws_sqs.IQueue`` that is needed here (satisfied structurally)."""

    @property
    def queue_url(self) -> str:
        """Address of the queue; may be a CDK token."""

    @property
    def queue_arn(self) -> str:
        """ARN of the queue; may be a CDK token."""


class Activation:
    """A source outside the pods that keeps a model from staying at zero replicas.

    vLLM's metrics come from its pods, so that without pods nothing would ever start
    the first one. Use a factory.

    Example:
        ```python
        QueueScaling(
            min_replicas=0,
            activation=Activation.schedule(
                timezone="Europe/Berlin", start="0 8 * * 1-5", end="0 19 * * 1-5"
            ),
        )
        ```
    """

    @staticmethod
    def schedule(
        *, timezone: str, start: str, end: str, replicas: int = 1
    ) -> "ScheduleActivation":
        """Keep ``replicas`` warm inside a window (business hours), none outside.

        Args:
            timezone: IANA name of the time zone.
            start: Begin of the window, as cron expression with five fields.
            end: End of the window, likewise.
            replicas: Replicas that the window keeps at least. Default: 1.

        Raises:
            ConfigurationError: A value breaks a rule; all of them are named.
        """
        return ScheduleActivation(
            timezone=timezone, start=start, end=end, replicas=replicas
        )

    @staticmethod
    def http(
        *,
        hosts: Sequence[str] = (),
        hold: bool = True,
        addon_namespace: str = "keda",
    ) -> "HttpActivation":
        """Wake on a request, through the interceptor of KEDA's HTTP add-on.

        Clients use the model's ``endpoint``, which leads through the interceptor. A
        request that finds no replica is held until there is one, or answered with 503
        and ``Retry-After``. What stands between client and interceptor must wait as
        long: an Application Load Balancer ends a request after 60 s without a byte.

        Args:
            hosts: Further host names under which clients reach the interceptor, as an
                ingress in front of it has. Default: none.
            hold: Whether a request waits for the first replica. Default: True;
                False answers at once, for clients that try again by themselves.
            addon_namespace: Namespace of the add-on. Default: ``keda``.

        Raises:
            ConfigurationError: A value breaks a rule; all of them are named.
        """
        return HttpActivation(hosts=hosts, hold=hold, addon_namespace=addon_namespace)

    @staticmethod
    def queue(
        sqs_queue: MessageQueue, *, messages_per_replica: int | None = None
    ) -> "QueueActivation":
        """Wake on a message in an SQS queue, whose consumer then asks the model.

        Messages in flight count too, so that the model stays while one is worked on.
        KEDA asks with the role of its own service account, which
        ``QueueScaledModel.grant_scaling`` allows to read the queue's length.

        Args:
            sqs_queue: The queue.
            messages_per_replica: Messages that keep one replica busy. Default: the
                requests at which a replica counts as full.

        Raises:
            ConfigurationError: A value breaks a rule; all of them are named.
        """
        return QueueActivation(
            sqs_queue=sqs_queue, messages_per_replica=messages_per_replica
        )

    @staticmethod
    def gateway(query: str) -> "GatewayActivation":
        """Wake on a metric of whatever stands in front of the model.

        The gateway must answer 503 with ``Retry-After``, or hold the request, while
        there is no replica, and must export the series without any replica too.

        Args:
            query: PromQL that yields one number: the model's requests at the gateway,
                waiting ones included. The model's Prometheus signal is asked.

        Raises:
            ConfigurationError: The query reads vLLM's own metrics, or is no text.
        """
        return GatewayActivation(query=query)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleActivation(Activation):
    """A window of time. Use ``Activation.schedule``.

    Args:
        timezone: IANA name of the time zone of ``start`` and ``end``.
        start: Begin of the window, as cron expression with five fields.
        end: End of the window, likewise.
        replicas: Replicas that the window keeps at least. Default: 1.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    timezone: str
    start: str
    end: str
    replicas: int = 1

    def __post_init__(self) -> None:
        with Problems("activation") as problems:
            problems.include(
                schedule_problems(
                    timezone=self.timezone,
                    start=self.start,
                    end=self.end,
                    replicas=self.replicas,
                )
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpActivation(Activation):
    """The interceptor of KEDA's HTTP add-on. Use ``Activation.http``.

    Args:
        hosts: Further host names of the interceptor. Default: none.
        hold: Whether a request waits for the first replica. Default: True.
        addon_namespace: Namespace of the add-on. Default: ``keda``.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    hosts: Sequence[str] = ()
    hold: bool = True
    addon_namespace: str = "keda"

    def __post_init__(self) -> None:
        with Problems("activation") as problems:
            if problems.sequence("hosts", self.hosts):
                for host in self.hosts:
                    problems.matches(
                        "hosts",
                        host,
                        _HOST,
                        rule="host names without a port",
                        repair="for example 'llm.example.com'",
                    )
                object.__setattr__(self, "hosts", tuple(self.hosts))
            problems.flag("hold", self.hold)
            problems.dns_label("addon_namespace", self.addon_namespace)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueActivation(Activation):
    """An SQS queue. Use ``Activation.queue``.

    Args:
        sqs_queue: The queue.
        messages_per_replica: Messages that keep one replica busy. Default: the
            requests at which a replica counts as full.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    sqs_queue: MessageQueue = field(repr=False)
    messages_per_replica: int | None = None

    def __post_init__(self) -> None:
        with Problems("activation") as problems:
            problems.resource(
                "sqs_queue", self.sqs_queue, "queue_url", kind="a queue of aws_sqs"
            )
            if self.messages_per_replica is not None:
                problems.integer(
                    "messages_per_replica", self.messages_per_replica, minimum=1
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayActivation(Activation):
    """A metric of a gateway. Use ``Activation.gateway``.

    Args:
        query: PromQL that yields one number.

    Raises:
        ConfigurationError: The query reads vLLM's own metrics, or is no text.
    """

    query: str

    def __post_init__(self) -> None:
        with Problems("activation") as problems:
            if problems.text("query", self.query) and "vllm:" in self.query:
                problems.broken(
                    "'query' must read a metric that exists without replicas",
                    self.query,
                    "vLLM's own are gone with its pods; ask the gateway",
                )


def schedule_problems(
    *, timezone: object, start: object, end: object, replicas: object
) -> list[str]:
    """Return what is wrong with a window; see ``ScheduleActivation``."""
    problems = Problems()
    problems.matches(
        "timezone",
        timezone,
        r"[A-Za-z_]+(/[A-Za-z0-9_+\-]+)*",
        rule="the IANA name of a time zone",
        repair="for example 'Europe/Berlin'",
    )
    for name, value in (("start", start), ("end", end)):
        if not _is_cron(value):
            problems.broken(
                f"'{name}' must be a cron expression with five fields",
                value,
                "for example '0 8 * * 1-5'",
            )
    if start == end:
        problems.add(f"'end' must differ from 'start', got {end!r} twice")
    problems.integer("replicas", replicas, minimum=1)
    return problems.messages


def _is_cron(value: object) -> bool:
    fields = value.split(" ") if isinstance(value, str) else []
    return len(fields) == len(_CRON_FIELDS) and all(
        _is_cron_part(part, *bounds)
        for field, bounds in zip(fields, _CRON_FIELDS, strict=True)
        for part in field.split(",")
    )


def _is_cron_part(part: str, lowest: int, highest: int, names: tuple[str, ...]) -> bool:
    span, _, step = part.partition("/")
    if step and not (step.isascii() and step.isdigit() and int(step) > 0):
        return False
    if span == "*":
        return not part.endswith("/")
    ends = span.split("-")
    numbers = [
        names.index(end.upper()) + lowest
        if end.upper() in names
        else int(end)
        if end.isascii() and end.isdigit()
        else -1
        for end in ends
    ]
    return (
        len(ends) <= 2  # noqa: PLR2004 - a range has two ends
        and not part.endswith("/")
        and numbers == sorted(numbers)
        and all(lowest <= number <= highest for number in numbers)
    )
