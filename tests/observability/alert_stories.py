"""Stories in which an alert must fire, and stories in which none may."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from eks_inference.manifests.alerts import Severity
from tests.observability.alert_world import (
    COLD_START,
    MAX_REPLICAS,
    Node,
    Pod,
    World,
    after,
    always,
    between,
)

WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL

BEGIN = 20.0
"""Minute at which something goes wrong."""
LATER = 400.0
"""The same, where six hours before it matter."""


@dataclass(frozen=True)
class Fired:
    """An alert as Prometheus sends it.

    Args:
        name: Name of the alert.
        severity: How soon somebody must look.
        summary: The sentence, with its values.
        labels: Labels beside those that every alert of the rule has.
    """

    name: str
    severity: Severity
    summary: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Story:
    """Something that happens, and what must be told of it.

    Args:
        title: What happens.
        world: What is reported meanwhile.
        at: Minute at which exactly ``fired`` fire.
        not_at: Minute at which the first of them does not fire yet.
        fired: Alerts; the first is what the story is about.
        before: What of the same name fires already at ``not_at``.
        step: Seconds between two samples.
    """

    title: str
    world: World
    at: float
    not_at: float
    fired: tuple[Fired, ...]
    before: tuple[Fired, ...] = ()
    step: int = 30


def _queue(count: int) -> Fired:
    return Fired("InferenceQueue", WARNING, f"{count} requests wait")


def _failures(share: str, severity: Severity) -> Fired:
    return Fired("InferenceFailures", severity, f"{share} of the requests fail")


def _slow(share: str) -> Fired:
    text = f"{share} of first tokens take more than 2.5 s"
    return Fired("InferenceFirstTokenSlow", WARNING, text)


def _burn(severity: Severity) -> Fired:
    text = "first tokens are late so often that the objective will be missed"
    return Fired("InferenceBudgetBurn", severity, text)


CACHE = Fired(
    *("InferenceCacheFull", WARNING),
    "the KV cache is full, and requests wait or are computed twice",
)
BLIND = Fired(
    *("InferenceScalerBlind", WARNING),
    "the autoscaler cannot read what it scales by",
)
ABSENT = Fired(
    *("InferenceMetricsAbsent", CRITICAL),
    "there are replicas, and none reports metrics",
)

LOAD = (
    Story(
        "a few more requests come than the replicas can take",
        World(waiting=after(BEGIN, 12)),
        *(BEGIN + 1, BEGIN + 0.5),
        (_queue(12),),
    ),
    Story(
        "many more requests come than the replicas can take",
        World(waiting=after(BEGIN, 60)),
        *(BEGIN + 1, BEGIN + 0.5),
        (
            Fired("InferenceQueue", CRITICAL, "60 requests wait"),
            _queue(60),
        ),
    ),
    Story(
        "the engine fails some requests",
        World(broken=after(BEGIN, 0.03)),
        *(BEGIN + 20, BEGIN + 5),
        (_failures("3%", WARNING),),
    ),
    Story(
        "the engine fails many requests",
        World(broken=after(BEGIN, 0.1)),
        *(BEGIN + 20, BEGIN + 5),
        (_failures("10%", CRITICAL), _failures("10%", WARNING)),
    ),
    Story(
        "the server refuses requests before the engine sees them",
        World(refused=after(BEGIN, 0.02)),
        *(BEGIN + 20, BEGIN + 5),
        (_failures("2%", WARNING),),
    ),
    Story(
        "long prompts fill the cache of a replica",
        World(cache=after(BEGIN, 0.95)),
        *(BEGIN + 5, BEGIN + 4.5),
        (CACHE,),
    ),
    Story(
        "requests are preempted again and again while the cache looks free",
        World(preemptions=after(BEGIN, 0.05)),
        *(BEGIN + 6, BEGIN + 4.5),
        (CACHE,),
    ),
    Story(
        "the queue does not go away at the last replica",
        World(waiting=after(BEGIN, 3), desired=always(MAX_REPLICAS)),
        *(BEGIN + 5, BEGIN + 4.5),
        (
            Fired(
                *("InferenceAtMaximum", WARNING),
                "requests wait, and there may be no more replicas",
            ),
        ),
    ),
)

SPEED = (
    Story(
        "somewhat too many first tokens are late",
        World(late=after(BEGIN, 0.07)),
        *(BEGIN + 25, BEGIN + 12),
        (_slow("7%"),),
    ),
    Story(
        "answers stall between tokens",
        World(stalled=after(BEGIN, 0.2)),
        *(BEGIN + 25, BEGIN + 10),
        (
            Fired(
                *("InferenceTokensSlow", WARNING),
                "20% of tokens take more than 0.1 s",
            ),
        ),
    ),
    Story(
        "nine of ten first tokens are late for most of an hour",
        World(late=after(LATER, 0.9)),
        *(LATER + 65, LATER + 55),
        (_burn(CRITICAL), _slow("90%")),
        step=60,
    ),
    Story(
        "two of five first tokens are late for some hours",
        World(late=after(LATER, 0.4)),
        *(LATER + 290, LATER + 275),
        (_burn(CRITICAL), _slow("40%"), _burn(WARNING)),
        (_burn(WARNING),),
        step=60,
    ),
    Story(
        "somewhat too many first tokens are late for two days",
        World(late=after(1_500, 0.07)),
        *(4_900, 4_700),
        # sampled so rarely that nothing looks at the last minutes
        (_burn(WARNING),),
        step=300,
    ),
)

PODS = (
    Story(
        "no node comes for a new replica",
        World(
            pods=(
                Pod(),
                Pod("6f7d-bbbbb", created=BEGIN, started=math.inf, ready=math.inf),
            )
        ),
        *(BEGIN + COLD_START + 1, BEGIN + COLD_START - 1),
        (
            Fired(
                *("InferencePodPending", WARNING),
                "chat-6f7d-bbbbb waits longer than a whole cold start takes",
                {"pod": "chat-6f7d-bbbbb"},
            ),
        ),
    ),
    Story(
        "the only replica starts and never serves",
        World(pods=(Pod(created=BEGIN, started=BEGIN + 2, ready=math.inf),)),
        *(BEGIN + COLD_START + 6, BEGIN + COLD_START + 4),
        (ABSENT,),
    ),
    Story(
        "Prometheus no longer reaches the replicas",
        World(scraped=after(BEGIN, 0, before=1), scaler_errors=after(BEGIN, 0.1)),
        *(BEGIN + COLD_START + 7, BEGIN + COLD_START + 4),
        (ABSENT, BLIND),
    ),
    Story(
        "KEDA cannot read a trigger",
        World(scaler_errors=after(BEGIN, 0.1)),
        *(BEGIN + COLD_START + 7, BEGIN + COLD_START + 4),
        (BLIND,),
    ),
    Story(
        "KEDA itself is gone",
        World(active=after(BEGIN, 0, before=1)),
        *(BEGIN + COLD_START + 6, BEGIN + COLD_START + 4),
        (BLIND,),
    ),
)

CLUSTER = (
    Story(
        "a node joins and never becomes ready for pods",
        World(nodes=(Node(), Node("node-b", created=BEGIN, initialized=math.inf))),
        *(BEGIN + 15.5, BEGIN + 14.5),
        (
            Fired(
                *("InferenceNodeNotInitialized", WARNING),
                "node claim node-b-claim is paid for and cannot be used",
                {"name": "node-b-claim"},
            ),
        ),
    ),
    Story(
        "a node loses its GPU",
        World(nodes=(Node(gpus=after(BEGIN, 0, before=1)), Node("node-b"))),
        *(BEGIN + 10.5, BEGIN + 9.5),
        (
            Fired(
                *("InferenceNodeWithoutGpu", WARNING),
                "node node-a is ready and offers no GPU",
                {"node": "node-a"},
            ),
        ),
    ),
    Story(
        "a node never offers its GPU",
        World(nodes=(Node(gpus=always(-1)),)),
        *(BEGIN, 5),
        (
            Fired(
                *("InferenceNodeWithoutGpu", WARNING),
                "node node-a is ready and offers no GPU",
                {"node": "node-a"},
            ),
        ),
    ),
    Story(
        "EC2 takes one spot node after the other",
        World(interruptions=between(BEGIN, BEGIN + 20, 5 / 1_200)),
        *(BEGIN + 50, BEGIN + 5),
        (
            Fired(
                *("InferenceSpotInterruptions", WARNING),
                "pool gpu: 5 spot interruptions in an hour",
                {"nodepool": "gpu"},
            ),
        ),
    ),
    Story(
        "an import is given up",
        World(import_failed=after(BEGIN, 1)),
        *(BEGIN, BEGIN - 0.5),
        (
            Fired(
                *("InferenceImportFailed", CRITICAL),
                "weights-import-0123456789 was given up; its model is not there",
                {"namespace": "inference", "job_name": "weights-import-0123456789"},
            ),
        ),
    ),
)

STORIES = (*LOAD, *SPEED, *PODS, *CLUSTER)


def _curve(at: float) -> float:
    """Requests of a replica in a second: none at night, most in the afternoon."""
    hour = at / 60
    return 0.0 if 1 <= hour < 4 else 2.5 + 2 * math.sin((hour - 9) / 24 * 2 * math.pi)


def _replica(name: str, begin: float, end: float) -> Pod:
    """A replica that takes nine tenths of a slow cold start."""
    return Pod(
        name,
        created=begin,
        started=begin + 0.5 * COLD_START,
        ready=begin + 0.9 * COLD_START,
        end=end,
    )


NORMAL_DAY = World(
    pods=(
        Pod(),
        _replica("6f7d-bbbbb", 400, 1_300),
        _replica("6f7d-ccccc", 600, 1_100),
        # a rollout replaces the first replica at the height of the day
        _replica("7b9c-ddddd", 840, math.inf),
    ),
    nodes=(
        Node(),
        # the plugin offers the GPU soon after the node has joined
        Node("node-b", created=400, initialized=403, gpus=after(402, 1, before=-1)),
        Node("system", gpus=always(-1), tainted=False),
    ),
    requests=_curve,
    # a few more in the rush
    late=between(780, 900, 0.04, otherwise=0.01),
    stalled=between(780, 900, 0.03, otherwise=0.01),
    # one failure at night, where it is a large share, and a rare one at all times
    broken=between(250, 250.6, 1, otherwise=0.001),
    refused=between(500, 500.6, 0.02),
    # short queues whenever a replica is missing
    waiting=lambda at: 8 if 400 <= at < 406 or 600 <= at < 606 else 0,
    cache=between(800, 804, 0.93, otherwise=0.6),
    preemptions=between(700, 701, 0.1),
    # Prometheus restarts
    scaler_errors=between(300, 303, 0.1),
    # as many replicas as allowed, and nobody waits
    desired=between(900, 960, MAX_REPLICAS, otherwise=2),
    interruptions=between(1_000, 1_030, 1 / 1_800),
)
"""A day of 24 hours with everything that happens on a good day."""

WOKEN = 30.0
"""Minute at which the sleeping model is woken."""

_UP = WOKEN + COLD_START

COLD_START_OF_A_MODEL = World(
    pods=(
        Pod("6f7d-aaaaa", WOKEN, WOKEN + 0.6 * COLD_START, _UP),
        _replica("6f7d-bbbbb", _UP + 1, math.inf),
        _replica("6f7d-ccccc", _UP + 1, math.inf),
    ),
    nodes=(
        Node(),
        Node("node-b", created=WOKEN, initialized=WOKEN + 4),
    ),
    # what waited at the door is late, and some more until there are three
    late=lambda at: (
        0.7 if at < _UP + 1 else 0.25 if at < _UP + 1 + 0.9 * COLD_START else 0.01
    ),
    waiting=between(_UP, _UP + COLD_START, 9),
    # no series yet: KEDA's query has no answer while the first replica starts
    scaler_errors=between(WOKEN, _UP, 0.07),
    # an autoscaler of a Deployment without replicas is inactive
    active=after(WOKEN, 1),
)
"""From zero to one to three replicas."""

ASLEEP = World(pods=(), active=always(0))
"""A model at zero replicas."""
