"""Tests of a pool's spare nodes in the simulator: held, taken, and held again."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from eks_inference import Accelerator, Capacity
from eks_inference.planning.cold_start_ledger import cold_start
from eks_inference.planning.cold_start_values import ColdStart, Phase
from eks_inference.planning.pool import GpuPool
from eks_inference.simulation.distributions import LogNormal
from eks_inference.simulation.events import EventQueue
from eks_inference.simulation.nodes import NodePool
from eks_inference.simulation.pods import Deployment
from eks_inference.simulation.policies import KedaScaling
from eks_inference.simulation.run import simulate
from tests.library.simulated import plan, scenario, trace

LAUNCH, IMAGE = 60, 40
SECONDS = {"node": LAUNCH, "image": IMAGE, "process": 30}


class Tenant:
    """A pod that needs GPUs until it is told to end."""

    gpus = 1

    def __init__(self, world: "World") -> None:
        self.world = world
        self.stopping = False
        self.node: Any = None
        self.bound_at = -1.0

    def bound(self, node: Any) -> None:
        """Note node and time."""
        self.node, self.bound_at = node, self.world.events.now

    def evict(self) -> None:
        """End at once."""
        self.stopping = True
        self.world.nodes.release(self, self.node)

    def lose(self) -> None:
        """Nothing else is to be done."""


class World:
    """A pool with spare nodes, without chance."""

    def __init__(self, *, spare: int = 1, **changes: Any) -> None:
        self.events = EventQueue()
        values: dict[str, Any] = {
            "gpus_per_node": 1,
            "max_gpus": 8,
            "consolidate_after_seconds": 100,
            "headroom_nodes": spare,
        }
        self.nodes = NodePool(
            self.events,
            GpuPool(
                name="gpu",
                accelerators=(Accelerator.A10G,),
                capacity=Capacity.on_demand(),
                **{**values, **changes},
            ),
            launch=LogNormal(LAUNCH, LAUNCH),
            random=Random(1),
        )

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Plan an action."""
        self.events.at(time, action)

    def submit(self, time: float) -> Tenant:
        """Return a pod that is submitted at a time."""
        pod = Tenant(self)
        self.at(time, lambda: self.nodes.submit(pod))
        return pod

    def live(self, until: float) -> list[str]:
        """Return the names of the nodes that are there at a time."""
        self.events.run(until)
        return [node.name for node in self.nodes.live]

    def deployment(self) -> Deployment:
        """Return a Deployment whose starts always take the same time."""
        start = ColdStart(
            tuple(
                Phase(name=name, p50=time, p90=time, bound_by="x", source="test")
                for name, time in SECONDS.items()
            )
        )
        return Deployment(
            self.events,
            self.nodes,
            name="mistral",
            gpus=1,
            cold_starts={item.name: start for item in self.nodes.instances},
            random=Random(2),
            make_replica=lambda _: Done(),
            on_ready=lambda _: None,
            on_gone=lambda _: None,
        )


class Done:
    """A replica that has nothing in flight."""

    def drain(self, done: Callable[[], None]) -> None:
        """Say that nothing is left."""
        done()

    def kill(self) -> None:
        """Nothing is left."""


def test_pool_keeps_its_spare_nodes() -> None:
    """The pool's own headroom is launched at the start, and stays."""
    assert World(spare=2).live(20_000) == ["gpu-0", "gpu-1"]
    assert World(spare=0).live(20_000) == []


def test_spare_node_is_taken_at_once_and_replaced() -> None:
    """A pod displaces the placeholder, whose successor makes Karpenter launch."""
    world = World()
    pod = world.submit(1000)
    assert world.live(1050) == ["gpu-0", "gpu-1"]
    assert (pod.bound_at, pod.node.name) == (1000, "gpu-0")
    assert world.nodes.nodes[1].launched_at == 1001
    assert world.live(20_000) == ["gpu-0", "gpu-1"]


def test_spare_node_counts_against_the_limit() -> None:
    """At the limit the last node has no spare one beside it."""
    world = World(max_gpus=2)
    first, second = world.submit(1000), world.submit(1000)
    assert world.live(20_000) == ["gpu-0", "gpu-1"]
    assert first.bound_at == 1000
    assert second.bound_at == 1000 + 1 + LAUNCH


def test_empty_node_goes_before_a_spare_one_is_taken() -> None:
    """A pod takes an empty node, where there is one, and no placeholder's."""
    world = World(consolidate_after_seconds=1000)
    first = world.submit(1000)
    world.at(1500, first.evict)
    second = world.submit(1600)
    world.events.run(1700)
    # the second node is held by then, and the first one empty
    assert second.node is first.node
    assert len(world.nodes.nodes) == 2


def test_placeholder_moves_and_the_node_too_many_goes() -> None:
    """When a replica leaves, one node is held and the other ends as an empty one."""
    world = World()
    pod = world.submit(1000)
    assert len(world.live(1500)) == 2
    world.at(2000, pod.evict)
    assert world.live(2090) == ["gpu-0", "gpu-1"]
    assert world.live(20_000) == ["gpu-1"]
    assert world.nodes.nodes[0].end_reason == "empty"


def test_interrupted_spare_node_is_replaced() -> None:
    """A placeholder holds up no drain, and its successor gets a node of its own."""
    world = World()
    world.events.run(1000)
    world.at(1000, lambda: world.nodes.interrupt(world.nodes.nodes[0]))
    assert world.live(1000) == []
    assert world.live(1100) == ["gpu-1"]


def test_several_spare_nodes_of_several_gpus() -> None:
    """A replica of one GPU displaces the placeholder of a whole node."""
    world = World(gpus_per_node=4, max_gpus=16)
    first, second = world.submit(1000), world.submit(1001)
    world.events.run(5000)
    assert first.node is second.node is world.nodes.nodes[0]
    assert len(world.nodes.live) == 2


@pytest.mark.parametrize(
    ("asked", "ready"),
    [
        # 1 s from the decision to the scheduler, then only the process
        (1000, 1000 + 1 + 30),
        # the spare node is there after 61 s, its image after 101 s
        (70, 61 + IMAGE + 30),
        # before the node there is nothing to take: the placeholder's launch helps
        (0, 61 + IMAGE + 30),
    ],
)
def test_replica_finds_its_image(asked: float, ready: float) -> None:
    """A placeholder pulls the image ahead: a replica waits for what is left of it."""
    world = World()
    deployment = world.deployment()
    world.at(asked, lambda: deployment.scale(1))
    world.events.run(2000)
    [pod] = deployment.pods
    assert pod.ready_at == ready


def test_image_is_pulled_once() -> None:
    """A placeholder on a node that a replica has left finds the image there."""
    world = World(max_gpus=1)
    deployment = world.deployment()
    world.at(1000, lambda: deployment.scale(1))
    world.at(2000, lambda: deployment.scale(0))
    world.at(2050, lambda: deployment.scale(1))
    world.events.run(3000)
    [pod] = deployment.pods
    assert pod.ready_at == 2050 + 1 + 30


def test_without_spare_nodes_a_replica_pulls_its_image() -> None:
    """Nothing is pulled ahead where nothing holds a node."""
    world = World(spare=0)
    deployment = world.deployment()
    world.at(1000, lambda: deployment.scale(1))
    world.events.run(2000)
    [pod] = deployment.pods
    assert pod.ready_at == 1000 + 1 + 1 + LAUNCH + IMAGE + 30


def test_run_has_the_spare_nodes_of_its_pool() -> None:
    """What is deployed is what is simulated: the pool's headroom needs no option."""
    load = trace((0, 0.2), (300, 4), (600, 4))
    asked = plan()
    pool = replace(asked.pool, headroom_nodes=2)
    own = simulate(scenario(), load, KedaScaling(), seed=3)
    held = simulate(
        replace(scenario(), plan=replace(asked, pool=pool)), load, KedaScaling(), seed=3
    )
    given = simulate(scenario(headroom=2), load, KedaScaling(), seed=3)
    assert held.cold_starts == given.cold_starts
    assert held.usd == given.usd
    assert max(held.cold_starts) < min(own.cold_starts)


def test_ledger_of_a_spare_node() -> None:
    """With a warm node the ledger has neither node nor image, and says what is left."""
    sizing = plan().serving.sizing
    instance, options = sizing.instances[0], plan().serving.cold_start_options
    cold, warm = (
        cold_start(
            instance=instance,
            weight_bytes=plan().model.weight_bytes,
            options=replace(options, warm_node=there),
        )
        for there in (False, True)
    )
    gone = {item.name for item in cold.phases} - {item.name for item in warm.phases}
    assert gone == {"node", "image"}
    notes = {item.name: item.note for item in warm.phases}
    assert "placeholder" in notes["schedule"]
    assert (
        "placeholder" not in {item.name: item.note for item in cold.phases}["schedule"]
    )
