"""Tests of where the autoscaler reads the queue."""

from collections.abc import Mapping
from typing import Any

from eks_inference import Signal
from tests.library.conftest import BadInputs, bad_inputs, refusal

ADDRESS = (
    "signal: 'server_address' must be an http(s) address without credentials, "
    "got {!r}; for example "
    "'http://kube-prometheus-stack-prometheus.monitoring.svc:9090'"
)
INTERVAL = "signal: 'scrape_interval_seconds' must be "

BAD: BadInputs = [
    ({"server_address": ""}, ADDRESS.format("")),
    ({"server_address": None}, ADDRESS.format(None)),
    ({"server_address": "prometheus:9090"}, ADDRESS.format("prometheus:9090")),
    ({"server_address": "ftp://prometheus"}, ADDRESS.format("ftp://prometheus")),
    ({"server_address": "http://a:b@host"}, ADDRESS.format("http://a:b@host")),
    ({"server_address": "http://a b"}, ADDRESS.format("http://a b")),
    ({"scrape_interval_seconds": 0}, INTERVAL + "1 to 60, got 0"),
    ({"scrape_interval_seconds": 61}, INTERVAL + "1 to 60, got 61"),
    ({"scrape_interval_seconds": "5s"}, INTERVAL + "a whole number, got '5s'"),
    ({"scrape_interval_seconds": 2.5}, INTERVAL + "a whole number, got 2.5"),
]


@bad_inputs(BAD)
def test_fails_when_a_value_breaks_a_rule(
    changes: Mapping[str, Any], message: str
) -> None:
    """Each bad value of a signal is refused with its whole message."""
    assert refusal(lambda: Signal.prometheus(**changes)) == message


def test_fails_with_every_problem_at_once() -> None:
    """All problems of a signal are reported together."""
    message = refusal(lambda: Signal.prometheus("?", scrape_interval_seconds=0))
    assert message.splitlines() == [INTERVAL + "1 to 60, got 0", ADDRESS.format("?")]


def test_default_is_the_operators_prometheus_every_five_seconds() -> None:
    """Without arguments the signal is what the kube-prometheus-stack chart installs."""
    signal = Signal.prometheus()
    assert signal.server_address == (
        "http://kube-prometheus-stack-prometheus.monitoring.svc:9090"
    )
    assert signal.scrape_interval_seconds == 5
