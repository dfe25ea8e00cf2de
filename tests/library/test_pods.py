"""Tests of a Deployment's pods: how they start, which go first, how they end."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference import Accelerator, Capacity, ConfigurationError, Drain
from eks_inference.planning.cold_start_values import ColdStart, Phase
from eks_inference.planning.instances import instance
from eks_inference.planning.pool import GpuPool
from eks_inference.simulation.distributions import LogNormal
from eks_inference.simulation.events import EventQueue
from eks_inference.simulation.nodes import NodePool
from eks_inference.simulation.pods import Deployment, Sample
from eks_inference.simulation.serving_pod import STAGES, ServingPod

SECONDS = {
    "detect": 20,
    "schedule": 2,
    "node": 60,
    "image": 40,
    "process": 30,
    "weights": 10,
    "compile": 13,
    "capture": 7,
    "probe": 5,
}
ON_A_NODE = 30 + 10 + 13 + 7 + 5


def ledger(*, spread: float = 1.0, **changes: float) -> ColdStart:
    """Return a cold start, by default one that always takes the same time."""
    return ColdStart(
        tuple(
            Phase(name=name, p50=p50, p90=p50 * spread, bound_by="x", source="test")
            for name, p50 in {**SECONDS, **changes}.items()
        )
    )


class Fake:
    """A replica that takes some time to answer what it has."""

    def __init__(self, world: "World", pod: ServingPod) -> None:
        self.world, self.pod = world, pod
        self.drained_at: float | None = None
        self.killed_at: float | None = None

    def drain(self, done: Callable[[], None]) -> None:
        """Finish after the world's time, at once with 0."""
        assert self.drained_at is None
        self.drained_at = self.world.events.now
        if self.world.busy:
            self.world.events.after(self.world.busy, done)
        else:
            done()

    def kill(self) -> None:
        """Note it; a replica is killed once at most."""
        assert self.killed_at is None
        self.killed_at = self.world.events.now


class World:
    """A Deployment on a pool of its own, and what is told about it."""

    def __init__(self, *, seed: int = 1, busy: float = 20, **values: Any) -> None:
        self.events = EventQueue()
        self.busy = busy
        self.told: list[tuple[float, str, str]] = []
        self.replicas: dict[str, Fake] = {}
        pool: dict[str, Any] = {
            "accelerators": (Accelerator.A10G,),
            "gpus_per_node": 1,
            "capacity": Capacity.on_demand(),
            "max_gpus": 8,
            "consolidate_after_seconds": 600,
        }
        for_pool = {key: values.pop(key) for key in tuple(values) if key in pool}
        for_nodes = {
            key: values.pop(key)
            for key in ("instances", "errors", "interruptions_per_hour", "launch")
            if key in values
        }
        self.nodes = NodePool(
            self.events,
            GpuPool(name="gpu", **{**pool, **for_pool}),
            random=Random(seed),
            **{"launch": LogNormal(60, 60), **for_nodes},
        )
        start = values.pop("start", ledger())
        defaults: dict[str, Any] = {
            "name": "mistral",
            "gpus": 1,
            "cold_starts": {item.name: start for item in self.nodes.instances},
            "random": Random(seed + 1),
            "make_replica": self.make,
            "on_ready": self.tell("ready"),
            "on_gone": self.tell("gone"),
        }
        self.deployment = Deployment(self.events, self.nodes, **{**defaults, **values})

    def make(self, pod: ServingPod) -> Fake:
        """Return the replica of a pod."""
        self.replicas[pod.name] = Fake(self, pod)
        return self.replicas[pod.name]

    def tell(self, what: str) -> Callable[[ServingPod], None]:
        """Return a function that notes what it is told."""
        return lambda pod: self.told.append((self.events.now, what, pod.name))

    def scale(self, at: float, replicas: int) -> None:
        """Scale at a time."""
        self.events.at(at, lambda: self.deployment.scale(replicas))

    def run(self, until: float) -> list[ServingPod]:
        """Run up to a time and return the pods that there are then."""
        self.events.run(until)
        return list(self.deployment.pods)


def test_stages_of_a_start() -> None:
    """A pod waits for its node, then goes through the ledger's phases."""
    world = World()
    world.scale(0, 1)
    (pod,) = world.run(400)
    assert pod.stages == [
        (0, "pending"),
        (62, "image"),
        (102, "process"),
        (132, "weights"),
        (142, "compile"),
        (155, "capture"),
        (162, "probe"),
        (167, "ready"),
    ]
    assert (pod.created_at, pod.started_at, pod.ready_at) == (0, 62, 167)
    assert world.told == [(167, "ready", "mistral-0")]
    assert pod.replica is world.replicas["mistral-0"]


def test_what_autoscalers_see() -> None:
    """Phase, readiness and counts are those of Kubernetes at each time."""
    world = World()
    world.scale(0, 2)
    world.scale(300, 1)
    seen = {}
    for time in (10, 80, 120, 200, 305):
        pods = world.run(time)
        deployment = world.deployment
        seen[time] = (
            sorted((pod.phase, pod.ready, pod.stopping) for pod in pods),
            (deployment.desired, deployment.replicas, deployment.ready_replicas),
        )
    assert seen == {
        10: ([("Pending", False, False)] * 2, (2, 2, 0)),
        80: ([("Pending", False, False)] * 2, (2, 2, 0)),
        120: ([("Running", False, False)] * 2, (2, 2, 0)),
        200: ([("Running", True, False)] * 2, (2, 2, 2)),
        305: ([("Running", False, True), ("Running", True, False)], (1, 1, 1)),
    }


def test_image_is_pulled_once_on_a_node() -> None:
    """Pods that come during a pull wait for it, later ones find the image."""
    world = World(gpus_per_node=4, max_gpus=4)
    for time, replicas in ((0, 1), (80, 2), (200, 3)):
        world.scale(time, replicas)
    first, second, third = world.run(400)
    assert second.stages[1:3] == [(81, "image"), (102, "process")]
    assert first.stages[2] == (102, "process")
    assert third.stages[1] == (201, "process")
    assert third.ready_at == 201 + ON_A_NODE


def test_first_replicas_fill_the_compile_cache() -> None:
    """Who starts before the cache is filled compiles, later ones read it."""
    world = World(gpus_per_node=4, max_gpus=4, first_compile=LogNormal(50, 50))
    world.scale(0, 2)
    world.scale(300, 3)
    first, second, third = world.run(500)
    assert first.ready_at == second.ready_at == 102 + ON_A_NODE + 50 - 13
    assert third.ready_at == 301 + ON_A_NODE


def test_compile_cache_is_one_for_each_gpu() -> None:
    """A replica on another GPU finds nothing for it."""
    types = [instance("g5.xlarge"), instance("g6.xlarge")]
    starts = {item.name: ledger() for item in types}
    world = World(
        accelerators=(Accelerator.A10G, Accelerator.L4),
        instances=types,
        cold_starts=starts,
        first_compile=LogNormal(50, 50),
    )
    world.deployment.scale(1)
    world.run(400)
    assert world.deployment.pods[0].node is not None
    other = next(
        item for item in types if item is not world.deployment.pods[0].node.instance
    )
    # the other GPU's node, as if the first one's were out of capacity
    world.nodes.nodes[0].instance = other
    world.nodes.nodes[0].tenants.clear()
    world.scale(400, 2)
    assert world.run(600)[1].ready_at == 401 + ON_A_NODE + 50 - 13


def test_ledger_is_that_of_the_instance_type() -> None:
    """A slow instance type has the times of its own ledger."""
    types = [instance("g5.xlarge"), instance("g5.2xlarge")]
    starts = {"g5.xlarge": ledger(weights=100), "g5.2xlarge": ledger()}
    world = World(instances=types, cold_starts=starts)
    world.scale(0, 1)
    assert world.run(400)[0].ready_at == 167 + 90


def test_missing_phases_take_no_time() -> None:
    """A ledger without image and compilation goes without them."""
    start = ColdStart(
        tuple(item for item in ledger().phases if item.name in {"node", "process"})
    )
    world = World(start=start)
    world.scale(0, 1)
    assert world.run(400)[0].ready_at == 62 + 30


def test_end_of_a_ready_pod() -> None:
    """PreStop, then out of the endpoints and drained, then vLLM ends."""
    world = World(busy=20)
    world.scale(0, 1)
    world.scale(200, 0)
    world.run(600)
    pod = world.deployment.history[0]
    assert pod.stages[-2:] == [(200, "stopping"), (235, "ended")]
    assert world.told[-1] == (210, "gone", "mistral-0")
    fake = world.replicas["mistral-0"]
    assert (fake.drained_at, fake.killed_at) == (210, None)


def test_idle_replica_ends_at_once() -> None:
    """A replica that says within the call that it has nothing left is not killed."""
    world = World(busy=0)
    world.scale(0, 1)
    world.scale(200, 0)
    world.run(600)
    assert world.deployment.history[0].stages[-1] == (215, "ended")
    assert world.replicas["mistral-0"].killed_at is None


def test_shutdown_timeout_cuts() -> None:
    """What is not answered by the shutdown timeout is lost, within the grace period."""
    drain = Drain(pre_stop_seconds=5, shutdown_timeout_seconds=30)
    world = World(busy=1000, drain=drain)
    world.scale(0, 1)
    world.scale(200, 0)
    world.run(2000)
    assert world.replicas["mistral-0"].killed_at == 235
    assert world.deployment.history[0].stages[-1] == (240, "ended")
    assert 200 + drain.grace_period_seconds >= 240


@pytest.mark.parametrize(
    ("at", "ends"),
    [(0.5, 0.5), (30, 30), (80, 80), (120, 135), (166, 181)],
    ids=["created", "pending", "pulling", "importing", "probed"],
)
def test_end_of_a_pod_that_is_not_ready(at: float, ends: float) -> None:
    """Without a container it goes at once, with one after preStop; it never serves."""
    world = World()
    world.scale(0, 1)
    world.scale(at, 0)
    assert world.run(1000) == []
    pod = world.deployment.history[0]
    assert pod.stages[-1] == (ends, "ended")
    assert world.told == []
    assert len(world.nodes.live) == 0


def test_pods_without_a_node_go_first() -> None:
    """Pending before pulling before starting before ready."""
    world = World(max_gpus=2)
    world.scale(0, 1)
    world.scale(200, 2)
    world.scale(280, 3)
    ready, pulling, pending = world.run(290)
    assert [pod.stage for pod in (ready, pulling, pending)] == [
        "ready",
        "image",
        "pending",
    ]
    world.deployment.scale(2)
    assert pending.stage == "ended"
    world.deployment.scale(1)
    assert pulling.stage == "ended"
    assert ready.stage == "ready"


def test_a_node_counts_before_company_on_it() -> None:
    """A pod without a node goes before two that pull on one."""
    world = World(gpus_per_node=4, max_gpus=4, gpus=2)
    world.scale(0, 3)
    first, second, pending = world.run(70)
    world.deployment.scale(2)
    assert (first.stage, second.stage, pending.stage) == ("image", "image", "ended")


def test_readiness_counts_before_age() -> None:
    """A pod that has just become ready stays, its twin that has not goes."""
    world = World(start=ledger(spread=1.5))
    world.scale(0, 2)
    while not world.deployment.ready_replicas:
        world.run(world.events.now + 1)
    world.deployment.scale(1)
    assert world.deployment.ready_replicas == 1


def test_wait_of_a_node_starts_when_its_pod_begins_to_stop() -> None:
    """A node whose pod drains for long is given up after the wait, not before."""
    drain = Drain(shutdown_timeout_seconds=900)
    world = World(busy=10_000, consolidate_after_seconds=300, drain=drain)
    world.scale(0, 1)
    world.scale(600, 0)
    (node,) = (world.run(900), world.nodes.nodes)[1]
    assert not node.draining
    world.run(930)
    assert node.draining
    assert node.ended_at is None
    world.run(3000)
    assert node.ended_at == 600 + 10 + 900 + 5


def test_starting_pods_go_before_ready_ones() -> None:
    """A pod that is not ready goes, however long it has been there."""
    world = World()
    world.scale(0, 1)
    world.scale(200, 2)
    ready, starting = world.run(330)
    assert starting.stage == "process"
    world.deployment.scale(1)
    assert (ready.stage, starting.stage) == ("ready", "stopping")


@pytest.mark.parametrize("seed", range(6))
def test_newest_of_the_ready_goes(seed: int) -> None:
    """Of ready pods, the one that has been ready for much less time goes."""
    world = World(seed=seed)
    world.scale(0, 1)
    world.scale(1000, 2)
    world.scale(1300, 1)
    old, new = world.run(1301)
    assert (old.stage, new.stage) == ("ready", "stopping")


def test_times_are_compared_by_magnitude() -> None:
    """Pods that have been ready for about as long go at random."""
    gone = set()
    for seed in range(12):
        world = World(seed=seed)
        world.scale(0, 1)
        world.scale(50, 2)
        world.scale(3000, 1)
        first, second = world.run(3001)
        gone.add(first.name if first.stopping else second.name)
    assert gone == {"mistral-0", "mistral-1"}


def test_crowded_node_loses_a_pod_first() -> None:
    """Of ready pods, those with more of their own on the node go before the newest."""
    world = World(gpus_per_node=4, max_gpus=8)
    world.scale(0, 4)
    world.scale(300, 5)
    world.scale(470, 4)
    pods = world.run(471)
    assert pods[4].ready_at == 300 + 167
    assert pods[4].ready
    assert sum(pod.stopping for pod in pods[:4]) == 1


def test_freed_gpus_go_to_waiting_pods() -> None:
    """A pod that waits for GPUs gets those of one that ends."""
    world = World(max_gpus=1)
    world.scale(0, 1)
    world.scale(200, 0)
    world.scale(201, 1)
    (pod,) = world.run(300)
    assert pod.stages[1] == (235, "process")
    assert len(world.nodes.nodes) == 1


def test_interruption_replaces_the_pod() -> None:
    """At the notice another pod is asked for, while the first one drains."""
    world = World(capacity=Capacity.spot())
    world.scale(0, 1)
    world.events.at(200, lambda: world.nodes.interrupt(world.nodes.nodes[0]))
    world.run(1000)
    old, new = world.deployment.history
    assert old.stages[-2:] == [(200, "stopping"), (235, "ended")]
    assert world.nodes.nodes[0].ended_at == 235
    assert new.created_at == 200
    assert new.ready_at == 202 + 60 + 40 + ON_A_NODE
    assert world.replicas["mistral-0"].killed_at is None


def test_interruption_kills_what_drains_for_too_long() -> None:
    """After two minutes the node is gone, and with it what was in flight."""
    world = World(
        busy=1000,
        capacity=Capacity.spot(),
        drain=Drain(pre_stop_seconds=10, shutdown_timeout_seconds=600),
    )
    world.scale(0, 1)
    world.events.at(200, lambda: world.nodes.interrupt(world.nodes.nodes[0]))
    world.run(3000)
    old = world.deployment.history[0]
    assert old.stages[-1] == (320, "ended")
    assert old.deleted_at == 200
    assert world.replicas["mistral-0"].killed_at == 320
    assert [item for item in world.told if item[2] == "mistral-0"] == [
        (167, "ready", "mistral-0"),
        (210, "gone", "mistral-0"),
    ]


def test_lost_node_takes_a_pod_out_of_the_endpoints() -> None:
    """A preStop hook longer than the notice ends with the node."""
    drain = Drain(pre_stop_seconds=300)
    world = World(capacity=Capacity.spot(), drain=drain)
    world.scale(0, 1)
    world.events.at(200, lambda: world.nodes.interrupt(world.nodes.nodes[0]))
    world.run(330)
    assert world.told == [(167, "ready", "mistral-0"), (320, "gone", "mistral-0")]
    assert world.replicas["mistral-0"].drained_at is None


def test_samples() -> None:
    """The series has a line for each change, the last of its time."""
    world = World(consolidate_after_seconds=10)
    world.scale(0, 1)
    world.scale(200, 0)
    world.run(1000)
    assert world.deployment.samples == [
        Sample(0, 1, 1, 0, 0, 0, 0),
        Sample(2, 1, 1, 0, 0, 0, 1),
        Sample(62, 1, 0, 1, 0, 0, 1),
        Sample(167, 1, 0, 0, 1, 0, 1),
        Sample(200, 0, 0, 0, 0, 1, 1),
        Sample(235, 0, 0, 0, 0, 0, 0),
    ]


def test_two_deployments_share_a_pool() -> None:
    """Replicas of different models and sizes stand on one node."""
    world = World(gpus_per_node=4, max_gpus=4)
    other = Deployment(
        world.events,
        world.nodes,
        name="llama",
        gpus=2,
        cold_starts={item.name: ledger() for item in world.nodes.instances},
        random=Random(9),
        make_replica=world.make,
        on_ready=world.tell("ready"),
        on_gone=world.tell("gone"),
    )
    world.scale(0, 2)
    world.events.at(0, lambda: other.scale(1))
    world.run(300)
    assert world.deployment.ready_replicas == 2
    assert other.ready_replicas == 1
    assert [node.free_gpus for node in world.nodes.nodes] == [0]


@given(
    steps=st.lists(
        st.tuples(st.floats(0, 3000), st.integers(0, 6)), min_size=1, max_size=8
    ),
    seed=st.integers(0, 10_000),
    gpus=st.sampled_from([1, 2, 4]),
    busy=st.floats(0, 300),
)
def test_invariants(
    steps: list[tuple[float, int]], seed: int, gpus: int, busy: float
) -> None:
    """Whatever happens, stages go forward, limits hold, and zero leaves nothing."""

    def run() -> World:
        world = World(
            seed=seed,
            busy=busy,
            gpus=gpus,
            gpus_per_node=4,
            max_gpus=16,
            capacity=Capacity.spot_with_fallback(),
            launch=LogNormal(65, 400),
            start=ledger(spread=1.5),
            first_compile=LogNormal(50, 80),
            errors={"spot": 0.4},
            interruptions_per_hour=3,
        )
        for time, replicas in steps:
            world.scale(time, replicas)
        world.scale(4000, 0)

        def check() -> None:
            live = world.nodes.live
            assert sum(node.instance.gpus for node in live) <= 16
            assert all(node.free_gpus >= 0 for node in live)
            held = sum(len(node.tenants) for node in live)
            bound = [pod for pod in world.deployment.pods if pod.node is not None]
            assert held == len(bound)
            assert world.deployment.replicas == world.deployment.desired
            sample = world.deployment.samples[-1]
            counted = sample.pending + sample.starting + sample.ready
            assert counted == world.deployment.replicas
            assert sample.ready == world.deployment.ready_replicas

        world.events.every(11, check, first=1 / 3)
        world.run(20_000)
        return world

    world = run()
    assert world.deployment.pods == ()
    assert world.nodes.live == ()
    for pod in world.deployment.history:
        order = [STAGES.index(stage) for _, stage in pod.stages]
        assert order == sorted(set(order))
        assert pod.stages[0][1] == "pending"
        assert pod.stages[-1][1] == "ended"
        events = [what for _, what, name in world.told if name == pod.name]
        assert events == (["ready", "gone"] if pod.ready_at is not None else [])
    again = run()
    assert world.deployment.samples == again.deployment.samples
    assert world.told == again.told


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"name": "A"},
            (
                "'name' must be a DNS label of at most 63 characters "
                "(a-z, 0-9 and '-', starting with a letter), got 'A'"
            ),
        ),
        (
            {"gpus": 2},
            "'gpus' must be 1 to 1, got 2; a replica never spans two nodes",
        ),
        ({"random": None}, "'random' must be of class Random, got None"),
        ({"drain": 100}, "'drain' must be of class Drain, got 100"),
        ({"first_compile": 50}, "'first_compile' must be of class LogNormal, got 50"),
        ({"make_replica": 1}, "'make_replica' must be a function, got 1"),
        ({"on_ready": None}, "'on_ready' must be a function, got None"),
        (
            {"cold_starts": 3},
            (
                "'cold_starts' must be a mapping of instance types to cold starts, "
                "got 3; for example {'g5.xlarge': cold_start(...)}"
            ),
        ),
        (
            {"instances": [instance("g5.xlarge")], "cold_starts": {"g6.xlarge": 1}},
            (
                "'cold_starts' must have g5.xlarge, which the pool may launch, got "
                "['g6.xlarge']; add it"
            ),
        ),
        (
            {"instances": [instance("g5.xlarge")], "cold_starts": {"g5.xlarge": 1}},
            "'cold_starts['g5.xlarge']' must be of class ColdStart, got 1",
        ),
    ],
)
def test_bad_deployments(changes: dict[str, Any], message: str) -> None:
    """Each bad value is named with its rule."""
    with pytest.raises(ConfigurationError) as caught:
        World(**changes)
    assert str(caught.value) == f"deployment: {message}"


def test_bad_nodes_and_scale() -> None:
    """Nodes must be a pool's, and replicas a number."""
    world = World()
    bad: Any = "three"
    with pytest.raises(ConfigurationError) as caught:
        world.deployment.scale(bad)
    assert str(caught.value) == (
        "deployment 'mistral': 'replicas' must be a whole number, got 'three'"
    )
    with pytest.raises(ConfigurationError) as caught:
        world.deployment.scale(-1)
    assert str(caught.value) == (
        "deployment 'mistral': 'replicas' must be 0 to 100000, got -1"
    )
    nothing: Any = None
    with pytest.raises(ConfigurationError) as caught:
        Deployment(
            nothing,
            nothing,
            name="a",
            gpus=1,
            cold_starts={},
            random=Random(1),
            make_replica=world.make,
            on_ready=world.tell("ready"),
            on_gone=world.tell("gone"),
        )
    assert caught.value.problems == (
        "deployment: 'events' must be of class EventQueue, got None",
        "deployment: 'nodes' must be of class NodePool, got None",
    )
