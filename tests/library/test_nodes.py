"""Tests of Karpenter's nodes: when they come, what they cost, when they go."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference import Accelerator, Capacity, ConfigurationError
from eks_inference.planning.instances import Prices, instance
from eks_inference.planning.pool import GpuPool
from eks_inference.simulation.distributions import LogNormal
from eks_inference.simulation.ec2 import Node, Shortage
from eks_inference.simulation.events import EventQueue
from eks_inference.simulation.nodes import NodePool

G5, G5_2X = instance("g5.xlarge"), instance("g5.2xlarge")


class Pod:
    """A pod that runs until it is told to stop, and takes some time for that."""

    def __init__(self, nodes: NodePool, events: EventQueue, **values: float) -> None:
        self.nodes, self.events = nodes, events
        self.gpus = int(values.get("gpus", 1))
        self.grace = values.get("grace", 0.0)
        self.stopping = False
        self.node: Node | None = None
        self.history: list[tuple[float, str]] = []

    def bound(self, node: Node) -> None:
        """Note the node."""
        self.node = node
        self.history.append((self.events.now, "bound"))

    def evict(self) -> None:
        """Stop, after the grace."""
        if self.stopping or self.node is None:
            return
        self.history.append((self.events.now, "evicted"))
        self.stopping = True
        self.nodes.stopping(self.node)
        self.events.after(self.grace, self.end)

    def end(self) -> None:
        """Give the GPUs back."""
        if self.node is not None and self in self.node.tenants:
            self.nodes.release(self, self.node)

    def lose(self) -> None:
        """Note the end of the node."""
        self.history.append((self.events.now, "lost"))


class World:
    """A pool and its engine."""

    def __init__(self, *, launch: float = 60, seed: int = 1, **values: Any) -> None:
        self.events = EventQueue()
        settings: dict[str, Any] = {
            "name": "gpu",
            "accelerators": (Accelerator.A10G,),
            "gpus_per_node": 1,
            "capacity": Capacity.on_demand(),
            "max_gpus": 4,
            "consolidate_after_seconds": 100,
        }
        of_pool = {key: values.pop(key) for key in list(values) if key in settings}
        self.nodes = NodePool(
            self.events,
            GpuPool(**{**settings, **of_pool}),
            random=Random(seed),
            launch=values.pop("time", LogNormal(launch, launch)),
            **values,
        )

    def submit(self, at: float, **values: float) -> Pod:
        """Return a pod that is submitted at a time."""
        pod = Pod(self.nodes, self.events, **values)
        self.events.at(at, lambda: self.nodes.submit(pod))
        return pod

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Plan an action."""
        self.events.at(time, action)

    def launches(self, until: float) -> list[float]:
        """Return when nodes have been launched up to a time."""
        self.events.run(until)
        return [node.launched_at for node in self.nodes.nodes]


def test_batch_closes_after_a_second_of_silence() -> None:
    """One pod waits for a second, then for its node."""
    world = World()
    pod = world.submit(5)
    assert world.launches(100) == [6]
    assert pod.history == [(66, "bound")]


def test_batch_is_held_open_for_ten_seconds() -> None:
    """Pods that keep coming hold the batch open, but not for ever."""
    world = World(max_gpus=40)
    for index in range(14):
        world.submit(index * 0.8)
    # the pod of 9.6 s is the last of the first batch
    assert world.launches(30) == [10.0] * 13 + [pytest.approx(11.4)]


def test_no_second_node_for_a_pod_whose_node_is_coming() -> None:
    """A pod that asks again every ten seconds gets no second node."""
    world = World(launch=300)
    world.submit(0)
    assert world.launches(290) == [1]


def test_replicas_share_a_node() -> None:
    """Four GPUs are four replicas of one, or two of two."""
    world = World(gpus_per_node=4, max_gpus=16)
    for _ in range(5):
        world.submit(0)
    world.submit(0, gpus=2)
    assert world.launches(100) == [1, 1]
    assert sorted(node.free_gpus for node in world.nodes.nodes) == [0, 1]


def test_largest_pods_are_placed_first() -> None:
    """Karpenter packs two nodes with three and one, two and two."""
    world = World(gpus_per_node=4, max_gpus=16)
    for gpus in (1, 2, 2, 3):
        world.submit(0, gpus=gpus)
    assert world.launches(30) == [1, 1]


def test_draining_nodes_have_no_room() -> None:
    """The free GPUs of a node that is going count for nobody."""
    world = World(gpus_per_node=4, max_gpus=16, capacity=Capacity.spot())
    world.submit(0, grace=100)
    world.at(200, lambda: world.nodes.interrupt(world.nodes.nodes[0]))
    later = world.submit(201)
    assert world.launches(400) == [1, 202]
    assert later.history == [(262, "bound")]


def test_rare_interruptions_do_not_come() -> None:
    """A rate of next to nothing is no error."""
    world = World(capacity=Capacity.spot(), interruptions_per_hour=1e-300)
    world.submit(0)
    assert world.launches(10) == [1]


def test_cheapest_instance_type_is_tried_first() -> None:
    """The order is that of the prices in force."""
    world = World()
    world.submit(0)
    dear = World(prices=Prices(usd_per_hour={"g5.xlarge": 50}))
    dear.submit(0)
    for item in (world, dear):
        item.events.run(5)
    assert world.nodes.nodes[0].instance is G5
    assert dear.nodes.nodes[0].instance is G5_2X


def test_limit_leaves_pods_pending() -> None:
    """No node beyond the limit; the next one comes when there is room."""
    world = World(max_gpus=1, consolidate_after_seconds=10)
    first, second = world.submit(0), world.submit(0)
    assert world.launches(500) == [1]
    assert second.history == []
    world.at(500, first.end)
    world.events.run(501)
    assert second.history == [(500, "bound")]


def test_capacity_error_is_remembered_for_three_minutes() -> None:
    """What EC2 has refused is not asked for again for 180 s."""
    world = World(instances=[G5], shortages=[Shortage("on-demand", 0, 20)])
    pod = world.submit(0)
    # refused at 1; pods ask every 10 s, and the batch at 181 finds it free again
    assert world.launches(400) == [181]
    assert pod.history == [(241, "bound")]


def test_spot_first_then_on_demand() -> None:
    """The attempt after a failed spot request asks for on-demand, then spot again."""
    world = World(
        capacity=Capacity.spot_with_fallback(),
        instances=[G5, G5_2X],
        shortages=[Shortage("spot", 0, 100)],
    )
    for time in (0, 50, 300):
        world.submit(time)
    assert world.launches(400) == [11, 51, 301]
    types = [node.capacity_type for node in world.nodes.nodes]
    assert types == ["on-demand", "on-demand", "spot"]


def test_shortage_of_one_type_takes_the_next() -> None:
    """One request names all types, so that another is launched at once."""
    world = World(
        instances=[G5_2X, G5], shortages=[Shortage("on-demand", 0, 9, "g5.xlarge")]
    )
    world.submit(0)
    assert world.launches(5) == [1]
    assert world.nodes.nodes[0].instance is G5_2X


def test_errors_have_their_probability() -> None:
    """With an error in every attempt nothing starts, with none everything does."""
    never = World(errors={"on-demand": 1})
    never.submit(0)
    assert never.launches(2000) == []
    half = World(max_gpus=400, errors={"on-demand": 0.5}, instances=[G5])
    for index in range(20):
        half.submit(index * 1000.0)
    # the first attempt is one second after the pod, the second 180 s later
    waits = [time % 1000 for time in half.launches(20_000)]
    assert 4 <= sum(wait == 1 for wait in waits) <= 16


def test_registration_timeout() -> None:
    """A node that does not come up is given up after 15 minutes, and another tried."""
    world = World(launch=1000)
    pod = world.submit(0)
    launched = world.launches(1000)
    assert launched == [1, 901]
    dead = world.nodes.nodes[0]
    assert (dead.ready_at, dead.ended_at, dead.end_reason) == (
        None,
        901,
        "not registered",
    )
    assert pod.history == []


def test_empty_node_goes_after_its_wait() -> None:
    """The wait counts from the last pod event, then loop and validation follow."""
    world = World()
    pod = world.submit(0)
    world.at(200, pod.end)
    world.events.run(1000)
    node = world.nodes.nodes[0]
    # due at 300, seen by the loop at 300, validated at 315
    assert (node.ready_at, node.ended_at, node.end_reason) == (61, 315, "empty")
    assert world.nodes.live == ()


def test_pod_during_validation_saves_the_node() -> None:
    """A node that has got a pod within the 15 s stays."""
    world = World()
    pod = world.submit(0)
    world.at(200, pod.end)
    world.submit(314)
    world.events.run(2000)
    assert world.nodes.nodes[0].ended_at is None
    assert len(world.nodes.nodes) == 1


def test_stopping_pods_do_not_keep_a_node() -> None:
    """A node whose pods all stop takes no more, and goes with the last of them."""
    world = World(consolidate_after_seconds=0)
    pod = world.submit(0, grace=100)
    world.at(200, pod.evict)
    later = world.submit(250)
    world.events.run(1000)
    first = world.nodes.nodes[0]
    assert first.ended_at == 300
    assert later.history == [(311, "bound")]


def test_headroom() -> None:
    """Empty nodes are kept: the next one is launched when one is taken."""
    world = World(headroom=1, consolidate_after_seconds=0)
    pod = world.submit(100)
    assert world.launches(1000) == [1, 101]
    assert pod.history == [(100, "bound")]
    world.at(1000, pod.end)
    world.events.run(2000)
    assert len(world.nodes.live) == 1


def test_interruption_drains_the_node() -> None:
    """Pods are evicted at the notice; the node goes when they have ended."""
    world = World(capacity=Capacity.spot())
    pod = world.submit(0, grace=70)
    world.at(200, lambda: world.nodes.interrupt(world.nodes.nodes[0]))
    world.events.run(400)
    assert pod.history == [(61, "bound"), (200, "evicted")]
    node = world.nodes.nodes[0]
    assert (node.ended_at, node.end_reason) == (270, "interrupted")


def test_interruption_ends_after_two_minutes() -> None:
    """A pod that takes longer is lost with its node; a second notice does nothing."""
    world = World(capacity=Capacity.spot())
    pod = world.submit(0, grace=500)
    for time in (200, 210):
        world.at(time, lambda: world.nodes.interrupt(world.nodes.nodes[0]))
    world.events.run(1000)
    assert pod.history == [(61, "bound"), (200, "evicted"), (320, "lost")]
    assert world.nodes.nodes[0].ended_at == 320


def test_interruption_before_the_node_is_ready() -> None:
    """A node that nobody uses yet goes at once, and its pod gets another."""
    world = World(capacity=Capacity.spot())
    pod = world.submit(0)
    world.at(30, lambda: world.nodes.interrupt(world.nodes.nodes[0]))
    assert world.launches(500) == [1, 31]
    assert world.nodes.nodes[0].ended_at == 30
    assert pod.history == [(91, "bound")]


def test_interruption_rate() -> None:
    """Spot nodes are interrupted at the rate, on-demand ones never."""
    for capacity, low, high in (
        (Capacity.spot(), 70, 130),
        (Capacity.on_demand(), 0, 0),
    ):
        world = World(
            capacity=capacity,
            headroom=10,
            max_gpus=40,
            interruptions_per_hour=0.1,
        )
        world.events.run(100 * 3600)
        ended = [node for node in world.nodes.nodes if node.ended_at is not None]
        assert low <= len(ended) <= high
        assert all(node.end_reason == "interrupted" for node in ended)


def test_cost_is_that_of_the_time() -> None:
    """Price times hours from launch to end, a minute at least."""
    node = Node("a", G5, "on-demand", 3.6, 100)
    assert node.billed_seconds(130) == 60
    assert node.cost(130) == pytest.approx(0.06)
    assert node.cost(1100) == pytest.approx(1.0)
    node.ended_at = 600
    assert node.cost(1100) == pytest.approx(0.5)


def test_cost_without_a_price_is_unknown() -> None:
    """A spot price is never guessed, and a cost without it not either."""
    world = World(capacity=Capacity.spot())
    world.submit(0)
    world.events.run(100)
    assert world.nodes.cost() is None
    priced = World(capacity=Capacity.spot(), prices=Prices(spot_ratio=0.5))
    priced.submit(0)
    priced.events.run(3601)
    assert G5.usd_per_hour is not None
    assert priced.nodes.cost() == pytest.approx(G5.usd_per_hour / 2)
    assert priced.nodes.billed_seconds() == 3600


def test_reserved_comes_first() -> None:
    """A capacity reservation is used before anything else, at the listed price."""
    world = World(capacity=Capacity(("on-demand", "spot", "reserved")))
    world.submit(0)
    world.events.run(5)
    node = world.nodes.nodes[0]
    assert (node.capacity_type, node.usd_per_hour) == ("reserved", G5.usd_per_hour)


def test_watchers_hear_of_nodes() -> None:
    """Whoever watches is called at launch, readiness and end."""
    world = World()
    heard: list[float] = []
    world.nodes.watch(lambda: heard.append(world.events.now))
    pod = world.submit(0)
    world.at(200, pod.end)
    world.events.run(1000)
    assert heard == [1, 61, 315]


def test_withdrawn_pod_gets_no_node() -> None:
    """A pod that is gone before the batch closes launches nothing."""
    world = World()
    pod = world.submit(0)
    for time in (0.5, 0.6):
        world.at(time, lambda: world.nodes.withdraw(pod))
    assert world.launches(500) == []


@given(
    pods=st.lists(
        st.tuples(
            st.floats(0, 2000), st.integers(1, 4), st.floats(1, 2000), st.floats(0, 200)
        ),
        max_size=12,
    ),
    seed=st.integers(0, 10_000),
    headroom=st.integers(0, 1),
)
def test_invariants(
    pods: list[tuple[float, int, float, float]], seed: int, headroom: int
) -> None:
    """GPUs and limits hold at all times, and in the end only headroom is left."""

    def run() -> tuple[World, list[Pod]]:
        world = World(
            time=LogNormal(65, 400),
            seed=seed,
            gpus_per_node=4,
            max_gpus=12,
            capacity=Capacity.spot_with_fallback(),
            prices=Prices(spot_ratio=0.3),
            errors={"spot": 0.5, "on-demand": 0.1},
            interruptions_per_hour=2,
            headroom=headroom,
        )
        made = []
        for start, gpus, runs, grace in pods:
            pod = world.submit(start, gpus=gpus, grace=grace)
            world.at(start + runs, lambda pod=pod: world.nodes.withdraw(pod))  # type: ignore[misc]
            world.at(start + runs, pod.evict)
            made.append(pod)

        def check() -> None:
            assert sum(node.instance.gpus for node in world.nodes.live) <= 12
            assert all(node.free_gpus >= 0 for node in world.nodes.nodes)
            assert all(node.ended_at is None for node in world.nodes.live)

        world.nodes.watch(check)
        world.events.every(7, check)
        world.events.run(20_000)
        return world, made

    world, made = run()
    assert all(not node.tenants for node in world.nodes.nodes)
    left = [node for node in world.nodes.live if node.ready_at is not None]
    assert len(left) <= headroom
    costs = [node.cost(world.events.now) or 0.0 for node in world.nodes.nodes]
    assert world.nodes.cost() == pytest.approx(sum(costs))
    again, same = run()
    assert [pod.history for pod in made] == [pod.history for pod in same]
    assert [
        (node.launched_at, node.ended_at, node.instance) for node in world.nodes.nodes
    ] == [
        (node.launched_at, node.ended_at, node.instance) for node in again.nodes.nodes
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"events": None}, "'events' must be of class EventQueue, got None"),
        ({"pool": 1}, "'pool' must be of class GpuPool, got 1"),
        ({"launch": 60}, "'launch' must be of class LogNormal, got 60"),
        ({"random": 1}, "'random' must be of class Random, got 1"),
        ({"prices": {}}, "'prices' must be of class Prices, got {}"),
        ({"headroom": -1}, "'headroom' must be 0 to 100000, got -1"),
        (
            {"interruptions_per_hour": float("nan")},
            "'interruptions_per_hour' must be 0 to 3600.0, got nan",
        ),
        (
            {"instances": []},
            "'instances' must not be empty; name one that the model fits",
        ),
        (
            {"instances": "g5.xlarge"},
            "'instances' must be a list or tuple, got 'g5.xlarge'; put it in brackets",
        ),
        (
            {"instances": [instance("g5.12xlarge")]},
            (
                "'instances' must have the pool's GPUs, 1 of a10g, got 'g5.12xlarge'; "
                "leave it out"
            ),
        ),
        (
            {"errors": 0.5},
            (
                "'errors' must be a mapping of capacity types to probabilities, got "
                "0.5; for example {'spot': 0.2}"
            ),
        ),
        ({"errors": {"spot": 2}}, "'errors['spot']' must be 0 to 1, got 2"),
        (
            {"errors": {"Spot": 0.1}},
            "'errors' must be one of 'reserved', 'spot', 'on-demand', got 'Spot'",
        ),
        (
            {"shortages": [3]},
            "'shortages[0]' must be a Shortage or a mapping, got 3",
        ),
    ],
)
def test_bad_pools(changes: dict[str, Any], message: str) -> None:
    """Each bad value is named with its rule."""
    world = World()
    values: dict[str, Any] = {
        "events": world.events,
        "pool": world.nodes.pool,
        "launch": LogNormal(60, 60),
        "random": Random(1),
        **changes,
    }
    events, pool = values.pop("events"), values.pop("pool")
    with pytest.raises(ConfigurationError) as caught:
        NodePool(events, pool, **values)
    assert str(caught.value) == f"node pool: {message}".replace(
        ": errors[", ": 'errors["
    )


def test_bad_shortages() -> None:
    """All that is wrong with a shortage is named at once."""
    bad: Any = ("Spot", 9, 3, "")
    with pytest.raises(ConfigurationError) as caught:
        Shortage(*bad)
    assert caught.value.problems == (
        (
            "shortage: 'capacity_type' must be one of 'reserved', 'spot', 'on-demand', "
            "got 'Spot'"
        ),
        "shortage: 'end' must be at least 'start' (9), got 3; swap them",
        "shortage: 'instance' must be a text that is not empty, got ''",
    )


def test_bad_pods_and_interruptions() -> None:
    """A pod must fit a node of the pool, and only nodes are interrupted."""
    world = World()
    with pytest.raises(ConfigurationError) as caught:
        world.nodes.submit(Pod(world.nodes, world.events, gpus=2))
    assert str(caught.value) == "pod: 'gpus' must be 1 to 1, got 2"
    bad: Any = "gpu-0"
    with pytest.raises(ConfigurationError) as caught:
        world.nodes.interrupt(bad)
    assert (
        str(caught.value) == "interruption: 'node' must be of class Node, got 'gpu-0'"
    )
