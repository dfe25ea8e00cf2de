"""Tests of the guardrails: what is found, how it is told, what an app can change."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import Annotations
from cdk8s import JsonPatch
from constructs import Construct

from eks_inference import (
    Capacity,
    Drain,
    GpuInferencePool,
    Guardrails,
    QueueScaledModel,
    QueueScaling,
    Severity,
)
from eks_inference.rules import reference
from tests.library.broken_rule import CONTAINER, Broken, patched
from tests.library.broken_rules import BROKEN
from tests.library.cases import default_model, default_pool
from tests.library.conftest import WINDOW, import_cluster, make_model, refusal

RULES = {rule.id: rule for rule in reference.rules()}
POOL_RULES = {
    "poolTooSmall",
    "headroomBeyondLimit",
    "noRoomForRollout",
    "poolWithoutModel",
    "consolidationShorterThanColdStart",
    "consolidationOfBusyNodes",
    "missingTaint",
    "unpinnedAmi",
    "unencryptedVolume",
    "volumeTooSmall",
    "unusedSnapshot",
    "nodeCredentials",
}
ROOT = Path(__file__).parents[2]
SPOT = "eks_inference:spotGrace"
TOO_LONG: dict[str, Any] = {"drain": Drain(shutdown_timeout_seconds=300)}
TOLD = (
    "'terminationGracePeriodSeconds' must be at most 110 on spot, got 320; "
    "lower 'shutdown_timeout_seconds' or use Capacity.on_demand()"
)


@dataclass(frozen=True)
class Verdict:
    """What a synthesis says.

    Args:
        errors: The errors with which it fails.
        notes: Level, path and text of what stands in it.
    """

    errors: list[str]
    notes: list[tuple[str, str, str]]


def new_app() -> cdk.App:
    """Return an app of one test's own."""
    return cdk.App(analytics_reporting=False)


def judge(app: cdk.App) -> Verdict:
    """Synthesize an app, and return what it is told."""
    try:
        assembly = app.synth()
    except RuntimeError as error:
        first, *errors = str(error).splitlines()
        assert "Validation failed with the following errors" in first
        return Verdict([line.strip().removeprefix("[] ") for line in errors], [])
    notes = [
        (note.level.name.lower(), note.id, str(note.entry.data))
        for artifact in assembly.stacks
        for note in artifact.messages
    ]
    return Verdict([], notes)


def expected(example: Broken, severity: Severity) -> Verdict:
    """Return what an example's app is told when its rule has a severity."""
    path = "Stack/Gpu" if example.rule in POOL_RULES else "Stack/Chat"
    if severity is Severity.ERROR:
        return Verdict([f"{path}: {text} [{example.id}]" for text in example.says], [])
    if severity is Severity.OFF:
        return Verdict([], [])
    return Verdict(
        [], [("warning", f"/{path}", f"{t} [ack: {example.id}]") for t in example.says]
    )


def too_long(scope: Construct, id: str = "Chat", **changes: Any) -> QueueScaledModel:
    """Define a pool and a model that takes too long to end on spot."""
    stack = cdk.Stack.of(scope)
    cluster = import_cluster(stack, f"{id}Cluster", name=id)
    return QueueScaledModel(
        scope,
        id,
        pool=GpuInferencePool(stack, f"Gpu{id}", cluster=cluster),
        model=make_model(),
        **{**TOO_LONG, **changes},
    )


def test_every_rule_has_an_example() -> None:
    """No rule is without an app that breaks it, and no example without a rule."""
    assert {example.id for example in BROKEN} == RULES.keys()


@pytest.mark.parametrize("example", BROKEN, ids=lambda example: example.rule)
def test_broken_rule_is_told(example: Broken) -> None:
    """Whoever breaks a rule is told that and nothing else, with path and id."""
    app = new_app()
    example.define(cdk.Stack(app, "Stack"))
    assert judge(app) == expected(example, RULES[example.id].severity)


@pytest.mark.parametrize("severity", Severity)
@pytest.mark.parametrize("example", BROKEN, ids=lambda example: example.rule)
def test_every_rule_can_be_switched(example: Broken, severity: Severity) -> None:
    """Each rule fails, warns or is silent as the app says, and the switch is noted."""
    app = new_app()
    stack = cdk.Stack(app, "Stack")
    example.define(stack)
    Guardrails.of(stack).switch(example.id, severity, reason="the test asks for it")
    verdict = judge(app)
    note = (
        "info",
        "/Stack",
        f"{example.id} is {severity} here: the test asks for it",
    )
    wanted = expected(example, severity)
    assert verdict.errors == wanted.errors
    if not wanted.errors:
        assert sorted(verdict.notes) == sorted([*wanted.notes, note])


def test_ids_are_stable() -> None:
    """The ids are API: a warning is acknowledged and a rule switched by them."""
    assert [rule.id.removeprefix("eks_inference:") for rule in reference.rules()] == [
        "activationTargetAboveZero",
        "apiKeyInManifest",
        "behaviorMisplaced",
        "blindSignal",
        "blockingDisruptionBudget",
        "consolidationOfBusyNodes",
        "consolidationShorterThanColdStart",
        "cooldownShorterThanColdStart",
        "cooldownWithoutZero",
        "drainExceedsNode",
        "gpusExceedNode",
        "headroomBeyondLimit",
        "heldRequestTooShort",
        "metricWithoutColon",
        "missingTaint",
        "missingToleration",
        "modelDoesNotFit",
        "noFallback",
        "noRoomForRollout",
        "nodeCredentials",
        "notReadyProbe",
        "podExceedsNode",
        "pollingIntervalWithoutZero",
        "poolTooSmall",
        "poolWithoutModel",
        "probePath",
        "queryOfAllModels",
        "queryWithoutAggregation",
        "scaleDownTooFast",
        "scaleUpTooSlow",
        "serviceLinks",
        "sharedCacheRoot",
        "shutdownInequality",
        "spotGrace",
        "startupBudgetTooShort",
        "streamerCredentials",
        "streamerMemory",
        "targetAboveCapacity",
        "unencryptedVolume",
        "unpinnedAmi",
        "unpinnedImage",
        "unprotectedStart",
        "unsoundFormula",
        "unusedSnapshot",
        "volumeTooSmall",
        "zeroWithoutActivation",
    ]
    assert len(RULES) == len(reference.rules())


def test_messages_name_rule_value_and_repair() -> None:
    """Every message says what must hold and what was found instead."""
    for example in BROKEN:
        for text in example.says:
            assert re.search(r"\bmust\b.*\bgot\b", text), text
            assert not text.endswith("."), text


def test_reference_is_the_documentation() -> None:
    """The documentation of the rules is what the library prints."""
    assert (ROOT / "docs" / "guardrails.md").read_text() == reference.markdown()


def test_reference_has_a_line_for_each_rule() -> None:
    """Each rule is documented with its severity, its statement and its reason."""
    lines = reference.markdown().splitlines()
    for rule in reference.rules():
        assert (
            f"| `{rule.id}` | {rule.severity} | {rule.statement} | {rule.reason} |"
            in (lines)
        )
        assert rule.statement.endswith(".")
        assert rule.reason.endswith(".")


def test_reference_can_be_printed() -> None:
    """The module prints the documentation, without CDK."""
    output = subprocess.run(
        [sys.executable, "-m", "eks_inference.rules.reference"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert output == reference.markdown()


@pytest.mark.parametrize("args", [["--max-num-seqs=32"], ["--max-num-seqs", "32"]])
def test_flags_are_found_in_both_forms(args: list[str]) -> None:
    """A flag of vLLM's is found with its value behind '=' or behind a blank."""
    app = new_app()
    stack = cdk.Stack(app, "Stack")
    patch = JsonPatch.replace(f"{CONTAINER}/args/5", args[0])
    more = [JsonPatch.add(f"{CONTAINER}/args/6", item) for item in args[:0:-1]]
    QueueScaledModel(
        stack,
        "Chat",
        pool=default_pool(stack),
        model=default_model(stack),
        **patched("Deployment", patch, *more),
    )
    assert judge(app) == Verdict([], [])


def test_node_that_stays_for_ever_is_not_removed_too_early() -> None:
    """A pool whose empty nodes are never removed keeps the rule about them."""
    app = new_app()
    never = JsonPatch.replace("/spec/disruption/consolidateAfter", "Never")
    pool = default_pool(cdk.Stack(app, "Stack"), **patched("NodePool", never))
    rule = "eks_inference:poolWithoutModel"
    Annotations.of(pool).acknowledge_warning(rule, "elsewhere")
    assert judge(app) == Verdict([], [])


def test_default_app_breaks_no_rule() -> None:
    """A pool and a model with nothing but defaults are told nothing at all."""
    app = new_app()
    stack = cdk.Stack(app, "Stack")
    pool = default_pool(stack)
    QueueScaledModel(stack, "Chat", pool=pool, model=default_model(stack))
    assert judge(app) == Verdict([], [])


def test_window_with_zero_breaks_no_rule() -> None:
    """A model that a window wakes is told nothing either."""
    app = new_app()
    stack = cdk.Stack(app, "Stack")
    QueueScaledModel(
        stack,
        "Chat",
        pool=default_pool(stack),
        model=default_model(stack),
        scaling=QueueScaling(min_replicas=0, activation=WINDOW),
    )
    assert judge(app) == Verdict([], [])


def test_errors_of_all_constructs_come_together() -> None:
    """Every error of every construct and stack is told at once, models first."""
    app = new_app()
    one, two = cdk.Stack(app, "One"), cdk.Stack(app, "Two")
    pool = default_pool(one, consolidate_after_seconds=30, max_gpus=30)
    for stack, name in ((one, "Chat"), (two, "Code")):
        QueueScaledModel(
            Construct(stack, "Models"),
            name,
            pool=pool,
            model=make_model(name=name.lower()),
            image="vllm",
            **TOO_LONG,
        )
    image = "'image' must have a pinned tag or a digest, got 'vllm'; name one"
    assert judge(app).errors == [
        f"One/Models/Chat: {TOLD} [{SPOT}]",
        f"One/Models/Chat: {image} [eks_inference:unpinnedImage]",
        f"Two/Models/Code: {TOLD} [{SPOT}]",
        f"Two/Models/Code: {image} [eks_inference:unpinnedImage]",
        (
            "One/Gpu: 'consolidate_after_seconds' must be at least a cold start (300), "
            "got 30s; raise it [eks_inference:consolidationShorterThanColdStart]"
        ),
    ]


def test_judged_late_and_not_when_defined() -> None:
    """A pool is too small only when all of its models are known."""
    app = new_app()
    stack = cdk.Stack(app, "Stack")
    pool = default_pool(stack, max_gpus=12)
    for name in ("chat", "code"):
        QueueScaledModel(stack, name, pool=pool, model=make_model(name=name))
    assert judge(app).errors == [
        (
            "Stack/Gpu: 'max_gpus' must be at least what the models need together "
            "(20 nodes x 1 GPUs), got 12; raise it or lower a model's 'max_replicas' "
            "[eks_inference:poolTooSmall]"
        )
    ]


def test_patches_are_judged() -> None:
    """What a patch repairs is not told, and what it breaks is."""
    app = new_app()
    stack = cdk.Stack(app, "Stack")
    short = JsonPatch.replace("/spec/template/spec/terminationGracePeriodSeconds", 110)
    too_long(stack, **patched("Deployment", short))
    [error] = judge(app).errors
    assert error.endswith("[eks_inference:shutdownInequality]")


def test_warning_can_be_acknowledged() -> None:
    """A warning that is acknowledged by its id on the construct does not come."""
    app = new_app()
    pool = default_pool(cdk.Stack(app, "Stack"))
    Annotations.of(pool).acknowledge_warning("eks_inference:poolWithoutModel", "later")
    assert judge(app) == Verdict([], [])


def test_second_synthesis_says_the_same() -> None:
    """Nothing is told twice when an app is synthesized twice."""
    app = new_app()
    default_pool(cdk.Stack(app, "Stack"))
    first = judge(app)
    assert judge(app) == first
    assert len(first.notes) == 1


@pytest.mark.parametrize("level", ["app", "stack", "scope", "model"])
@pytest.mark.parametrize("severity", [Severity.WARNING, Severity.OFF])
def test_switch_covers_everything_below(level: str, severity: Severity) -> None:
    """A switch counts on every level of the tree, and its reason is told there."""
    app = new_app()
    stack = cdk.Stack(app, "Stack")
    scope = Construct(stack, "Models")
    model = too_long(scope)
    at: Construct = {"app": app, "stack": stack, "scope": scope, "model": model}[level]
    Guardrails.of(at).switch(SPOT, severity, reason="requests are sent again")
    verdict = judge(app)
    assert verdict.errors == []
    # an app has no messages of its own: its stacks tell it
    told_at = at.node.path or "Stack"
    info = [
        (
            "info",
            f"/{told_at}",
            f"{SPOT} is {severity} here: requests are sent again",
        )
    ]
    warning = [("warning", "/Stack/Models/Chat", f"{TOLD} [ack: {SPOT}]")]
    assert sorted(verdict.notes) == sorted(
        info + (warning if severity is Severity.WARNING else [])
    )


def test_nearest_switch_counts() -> None:
    """Of several switches that cover a construct the nearest one decides."""
    app = new_app()
    stack = cdk.Stack(app, "Stack")
    scope = Construct(stack, "Models")
    strict, lenient = too_long(scope, "Strict"), too_long(scope, "Lenient")
    Guardrails.of(strict).switch(SPOT, Severity.ERROR, reason="user-facing")
    Guardrails.of(app).switch(SPOT, Severity.ERROR, reason="the rule")
    Guardrails.of(stack).switch(SPOT, Severity.OFF, reason="batch")
    assert judge(app).errors == [f"Stack/Models/Strict: {TOLD} [{SPOT}]"]
    assert lenient.node.path == "Stack/Models/Lenient"


def test_switch_ends_at_its_scope() -> None:
    """A switch changes nothing beside its construct, nor below a longer name."""
    app = new_app()
    stack = cdk.Stack(app, "Stack")
    pool = default_pool(stack, max_gpus=30)
    made = {
        name: QueueScaledModel(
            stack, name, pool=pool, model=make_model(name=name.lower()), **TOO_LONG
        )
        for name in ("Chat", "Chat2")
    }
    Guardrails.of(made["Chat"]).switch(SPOT, Severity.OFF, reason="batch")
    assert judge(app).errors == [f"Stack/Chat2: {TOLD} [{SPOT}]"]


def test_switch_changes_no_other_rule() -> None:
    """A switch for one rule leaves the others as they are."""
    app = new_app()
    stack = cdk.Stack(app, "Stack")
    too_long(stack)
    Guardrails.of(stack).switch(
        "eks_inference:unpinnedImage", Severity.OFF, reason="a test"
    )
    assert judge(app).errors == [f"Stack/Chat: {TOLD} [{SPOT}]"]


@pytest.mark.parametrize(
    ("rule", "reason", "problems"),
    [
        ("eks_inference:spotgrace", "x", ["rule"]),
        ("spotGrace", "x", ["rule"]),
        (None, "x", ["rule"]),
        (SPOT, "", ["reason"]),
        (SPOT, None, ["reason"]),
        ("", "", ["rule", "reason"]),
    ],
)
def test_fails_when_a_switch_names_no_rule_or_reason(
    rule: str, reason: str, problems: list[str], stack: cdk.Stack
) -> None:
    """A switch of an unknown rule or without a reason is refused."""
    known = ", ".join(map(repr, sorted(RULES)))
    texts = {
        "rule": f"guardrails: 'rule' must be one of {known}, got {rule!r}",
        "reason": (
            f"guardrails: 'reason' must be a text that is not empty, got {reason!r}"
        ),
    }
    message = refusal(
        lambda: Guardrails.of(stack).switch(rule, Severity.OFF, reason=reason)
    )
    assert message.splitlines() == [texts[name] for name in problems]


@pytest.mark.parametrize(
    ("pool", "model", "limits", "rule"),
    [
        ({}, TOO_LONG, {}, "spotGrace"),
        ({"capacity": Capacity.on_demand()}, TOO_LONG, {}, None),
        ({}, {}, {"gpus": 4}, "gpusExceedNode"),
        ({"gpus_per_node": 4, "max_gpus": 40}, {}, {"gpus": 4}, None),
        ({}, {"image": "vllm"}, {}, "unpinnedImage"),
        ({}, {}, {}, None),
    ],
)
def test_models_of_imported_pools_are_judged(
    pool: dict[str, Any],
    model: dict[str, Any],
    limits: dict[str, Any],
    rule: str | None,
) -> None:
    """A model of another app's pool keeps the same rules, on what is known of it."""
    app = new_app()
    stack = cdk.Stack(app, "Stack")
    known = GpuInferencePool.from_pool_name(
        "shared", cluster=import_cluster(stack), **pool
    )
    served = default_model(stack, **limits)
    QueueScaledModel(stack, "Chat", pool=known, model=served, **model)
    found = [error.rpartition(":")[2].rstrip("]") for error in judge(app).errors]
    assert found == ([rule] if rule else [])


def test_nobody_else_is_judged() -> None:
    """A tree without our constructs has no validation of ours."""
    app = new_app()
    cdk.Stack(app, "Stack")
    assert app.node.validate() == []


def test_pool_for_others_can_be_declared() -> None:
    """A pool whose models are in another app is quiet when it says so."""
    app = new_app()
    pool = default_pool(cdk.Stack(app, "Stack"))
    rule = "eks_inference:poolWithoutModel"
    Guardrails.of(pool).switch(rule, Severity.OFF, reason="the models are elsewhere")
    assert judge(app).notes == [
        ("info", "/Stack/Gpu", f"{rule} is off here: the models are elsewhere")
    ]
