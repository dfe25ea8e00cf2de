"""Tests of what chooses a replica for a request."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference.accelerator import Accelerator
from eks_inference.architecture import Architecture
from eks_inference.checkpoint import Checkpoint
from eks_inference.planning.step_time import StepModel
from eks_inference.simulation.balancer import Balancer, LeastOutstanding, RoundRobin
from eks_inference.simulation.events import EventQueue
from eks_inference.simulation.replica import Replica
from eks_inference.simulation.requests import Outcome, Request
from tests.library.conftest import refusal

TINY = Architecture(
    name="LlamaForCausalLM",
    layers=2,
    hidden_size=64,
    attention_heads=2,
    kv_heads=2,
    head_size=32,
    vocabulary=100,
    context=1_000,
    parameters=1_000_000,
)
STEP = StepModel(Checkpoint.computed(name="test", architecture=TINY), Accelerator.L4)

KINDS: list[type[Balancer]] = [RoundRobin, LeastOutstanding]


def replicas(events: EventQueue, number: int) -> list[Replica]:
    """Return replicas that are ready."""
    return [
        Replica(
            events,
            name=f"chat-{index}",
            step=STEP,
            max_num_seqs=2,
            max_num_batched_tokens=64,
            kv_tokens=1_000,
            on_finished=lambda _: None,
        )
        for index in range(number)
    ]


def send(balancer: Balancer, number: int = 1, answer: int = 5) -> list[Outcome]:
    """Send requests, all at once."""
    outcomes = [Outcome(Request(0.0, 10, answer)) for _ in range(number)]
    for outcome in outcomes:
        balancer.submit(outcome)
    return outcomes


def names(outcomes: list[Outcome]) -> list[str | None]:
    """Return the number of each outcome's replica."""
    return [item.replica and item.replica.removeprefix("chat-") for item in outcomes]


def test_round_robin_takes_turns() -> None:
    """Each replica gets a request in turn, whatever it has."""
    balancer = RoundRobin()
    for replica in replicas(EventQueue(), 3):
        balancer.add(replica)
    assert names(send(balancer, 7)) == list("0120120")


@pytest.mark.parametrize(
    ("removed", "expected"), [(0, "2121"), (1, "2020"), (2, "0101")]
)
def test_round_robin_keeps_its_turn(removed: int, expected: str) -> None:
    """Where a replica goes, the turn is that of the replica that it was before."""
    balancer, three = RoundRobin(), replicas(EventQueue(), 3)
    for replica in three:
        balancer.add(replica)
    send(balancer, 2)
    balancer.remove(three[removed])
    assert names(send(balancer, 4)) == list(expected)


def test_least_outstanding_takes_the_least_busy() -> None:
    """The replica with the fewest unanswered requests gets the next, or the oldest."""
    events, balancer = EventQueue(), LeastOutstanding()
    two = replicas(events, 2)
    for replica in two:
        balancer.add(replica)
    assert names(send(balancer, 2, answer=900)) == ["0", "1"]
    two[0].submit(Outcome(Request(0.0, 10, 900)))
    assert names(send(balancer, 3)) == ["1", "0", "1"]
    events.run(until=1_000)
    assert [replica.outstanding for replica in two] == [0, 0]
    assert names(send(balancer)) == ["0"]


@given(
    st.sampled_from(KINDS),
    st.lists(st.sampled_from(["add", "remove", "send"]), max_size=40),
)
def test_no_request_is_lost_or_sent_twice(
    kind: type[Balancer], actions: list[str]
) -> None:
    """Every request waits or is at one replica, and all are served in the end."""
    events, balancer = EventQueue(), kind()
    spare, outcomes = replicas(events, 41), []
    for action in actions:
        if action == "add":
            balancer.add(spare.pop())
        elif action == "remove" and balancer.replicas:
            balancer.remove(balancer.replicas[0])
        elif action == "send":
            outcomes += send(balancer)
        waiting = [item for item in outcomes if item.replica is None]
        assert waiting == list(balancer.waiting)
        assert not (waiting and balancer.replicas)
    balancer.add(spare.pop())
    events.run(until=1_000)
    assert all(item.finished for item in outcomes)


@pytest.mark.parametrize("kind", KINDS)
def test_requests_wait_for_the_first_replica(kind: type[Balancer]) -> None:
    """Without a replica requests wait, and are dispatched in the order of arrival."""
    events, balancer = EventQueue(), kind()
    outcomes = send(balancer, 5)
    assert balancer.waiting == tuple(outcomes)
    events.run(until=100)
    first, second = replicas(events, 2)
    balancer.add(first)
    balancer.add(second)
    assert balancer.waiting == ()
    assert balancer.replicas == (first, second)
    assert Counter(names(outcomes)) == {"0": 5}
    events.run(until=200)
    times = [item.first_token or 0.0 for item in outcomes]
    assert times == sorted(times)
    assert times[0] > 100


@pytest.mark.parametrize("kind", KINDS)
def test_requests_are_refused_where_nothing_holds_them(kind: type[Balancer]) -> None:
    """With 'on_refused' a request is lost while no replica is ready."""
    refused: list[Outcome] = []
    balancer = kind(refused.append)
    outcomes = send(balancer, 2)
    assert refused == outcomes
    assert [item.lost for item in outcomes] == ["refused", "refused"]
    assert balancer.waiting == ()
    balancer.add(replicas(EventQueue(), 1)[0])
    assert send(balancer)[0].lost is None


def test_removed_replica_finishes_what_it_has() -> None:
    """Removing takes away nothing, and may be done twice."""
    events, balancer = EventQueue(), RoundRobin()
    (replica,) = replicas(events, 1)
    balancer.add(replica)
    outcomes = send(balancer, 3)
    balancer.remove(replica)
    balancer.remove(replica)
    late = send(balancer)
    events.run(until=100)
    assert all(item.finished for item in outcomes)
    assert balancer.waiting == tuple(late)


def _twice(balancer: Balancer) -> None:
    (replica,) = replicas(EventQueue(), 1)
    balancer.add(replica)
    balancer.add(replica)


def _dead(balancer: Balancer) -> None:
    (replica,) = replicas(EventQueue(), 1)
    replica.kill()
    balancer.add(replica)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda balancer: balancer.add("chat-1"),
            "'replica' must be of class Replica, got 'chat-1'",
        ),
        (_twice, "'replica' must not be added twice, got 'chat-0'"),
        (
            _dead,
            (
                "'replica' must take requests, got 'chat-0'; it drains or was killed; "
                "add another one"
            ),
        ),
        (
            lambda balancer: balancer.submit(None),
            "'outcome' must be of class Outcome, got None",
        ),
        (lambda _: RoundRobin(1), "'on_refused' must be a function or None, got 1"),  # type: ignore[arg-type]
    ],
)
def test_balancer_refuses(call: Callable[[Balancer], Any], message: str) -> None:
    """What is no replica, takes no requests or is no request is named."""
    assert refusal(lambda: call(RoundRobin())) == message
