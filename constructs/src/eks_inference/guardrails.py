"""The guardrails of an app: what was found, and which rules an app has switched."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import jsii
from aws_cdk import Annotations, Stack, Stage
from constructs import Construct, IConstruct, IValidation

from eks_inference._check import ConfigurationError, Problems, is_token
from eks_inference.rules import ModelFacts, PoolFacts, Rule, Severity
from eks_inference.rules.model_rules import MODEL_RULES
from eks_inference.rules.pool_rules import POOL_RULES


@dataclass(frozen=True, slots=True, kw_only=True)
class _Switch:
    path: str
    rule: str
    severity: Severity
    reason: str

    def covers(self, path: str, rule: str) -> bool:
        return rule == self.rule and _is_within(path, self.path)


@dataclass(eq=False, slots=True, weakref_slot=True)
class Report:
    """What the constructs of one app have defined, judged when the app is synthesized.

    An app and each stage in it are assemblies of their own, which CDK validates one
    after the other, so that each has a judge for what it holds itself.

    Args:
        stages: Path of every stage with an entry, the app's own included.
        constructs: Every construct with an entry, by path.
        pools: Pools.
        models: Models.
        switches: Severities that the app has changed.
        taken: Paths by what only one construct of a cluster may be called.
    """

    stages: set[str] = field(default_factory=set)
    constructs: dict[str, IConstruct] = field(default_factory=dict)
    pools: list[PoolFacts] = field(default_factory=list)
    models: list[ModelFacts] = field(default_factory=list)
    switches: list[_Switch] = field(default_factory=list)
    taken: dict[tuple[str, ...], str] = field(default_factory=dict)

    def claim(self, path: str, what: str, *key: str) -> None:
        """Note that a construct has made an object whose name is unique in a cluster.

        Args:
            path: Path of the construct.
            what: Kind of the object, for the message.
            key: Cluster, and everything that makes the name unique in it.

        Raises:
            ConfigurationError: Another construct has made it already.
        """
        if is_token(key[0]):
            # what a deployment decides, each stage's deployment decides for itself
            key = (self.stage_of(path), *key)
        other = self.taken.setdefault((what, *key), path)
        if other != path:
            message = (
                f"'name' of a {what} must be unique in its cluster, got "
                f"{key[-1]!r} at {path!r} and at {other!r}; rename one"
            )
            raise ConfigurationError([message])

    def stage_of(self, path: str) -> str:
        """Return the path of the innermost stage that holds a construct."""
        return max((s for s in self.stages if _is_within(path, s)), key=len)

    def severity(self, rule: Rule[Any], path: str) -> Severity:
        """Return what happens when a construct breaks a rule: the nearest switch."""
        near = [item for item in self.switches if item.covers(path, rule.id)]
        if not near:
            return rule.severity
        # of two on one construct the later one is the app's last word
        return max(reversed(near), key=lambda item: len(item.path)).severity

    def findings(self, stage: str) -> Iterator[tuple[Severity, str, str, str]]:
        """Yield severity, rule id, path and message of what is broken in a stage."""
        for model in self.models:
            if self.stage_of(model.path) == stage:
                for model_rule in MODEL_RULES:
                    severity = self.severity(model_rule, model.path)
                    for message in model_rule.check(model):
                        yield severity, model_rule.id, model.path, message
        for pool in self.pools:
            if self.stage_of(pool.path) == stage:
                for pool_rule in POOL_RULES:
                    severity = self.severity(pool_rule, pool.path)
                    for message in pool_rule.check(pool):
                        yield severity, pool_rule.id, pool.path, message

    def told(self, switch: _Switch, stage: str) -> list[IConstruct]:
        """Return where a stage reports a switch: a stage has no messages of its own."""
        construct = self.constructs[switch.path]
        if not isinstance(construct, Stage):
            return [construct] if self.stage_of(switch.path) == stage else []
        judged = [pool.path for pool in self.pools]
        judged += [model.path for model in self.models]
        stacks = {
            stack.node.path: stack
            for stack in (
                Stack.of(self.constructs[path])
                for path in judged
                if self.stage_of(path) == stage and _is_within(path, switch.path)
            )
        }
        return list(stacks.values())


@jsii.implements(IValidation)
class _Judge:
    """Judges what a stage holds when CDK validates it."""

    def __init__(self, report: Report, stage: str) -> None:
        self._report = report
        self._stage = stage

    def validate(self) -> list[str]:
        errors = []
        for severity, rule, path, message in self._report.findings(self._stage):
            if severity is Severity.ERROR:
                errors.append(f"{path}: {message} [{rule}]")
            elif severity is Severity.WARNING:
                construct = self._report.constructs[path]
                Annotations.of(construct).add_warning_v2(rule, message)
        for switch in self._report.switches:
            told = f"{switch.rule} is {switch.severity} here: {switch.reason}"
            for construct in self._report.told(switch, self._stage):
                Annotations.of(construct).add_info(told)
        return errors


_REPORTS: WeakKeyDictionary[Any, Report] = WeakKeyDictionary()
_PLACES: WeakKeyDictionary[Any, tuple[Report, str]] = WeakKeyDictionary()


def place(scope: IConstruct) -> tuple[Report, str]:
    """Return the report of a construct's app, and the construct's path.

    Asked once for each scope: both are calls to JavaScript.
    """
    known = _PLACES.get(scope)
    if known is None:
        node = scope.node
        report = _REPORTS.setdefault(node.root, Report())
        # whoever builds a stack without an app has no stage either
        stage = (Stage.of(scope) or node.root).node
        if stage.path not in report.stages:
            report.stages.add(stage.path)
            stage.add_validation(_Judge(report, stage.path))
        known = _PLACES[scope] = (report, node.path)
    return known


def _is_within(path: str, scope_path: str) -> bool:
    return not scope_path or path == scope_path or path.startswith(f"{scope_path}/")


def path_of(scope_path: str, id: str) -> str:
    """Return the path of a construct below a scope."""
    return f"{scope_path}/{id}" if scope_path else id


class Guardrails:
    """The severities of rules for everything below a construct.

    ``docs/guardrails.md`` lists the rules.

    Example:
        ```python
        Guardrails.of(stack).switch(
            "eks_inference:spotGrace",
            Severity.WARNING,
            reason="batch stage: lost requests are sent again",
        )
        ```
    """

    def __init__(self, scope: IConstruct) -> None:
        self._scope = scope

    @classmethod
    def of(cls, scope: Construct) -> "Guardrails":
        """Return the guardrails of a construct: an app, a stage, a stack, a model."""
        return cls(scope)

    def switch(self, rule: str, severity: Severity, *, reason: str) -> None:
        """Change what happens when something below the construct breaks a rule.

        The change stands in the synthesis as an information, with its reason. Of two
        changes the one that is nearer to the construct counts.

        Args:
            rule: Id of the rule, such as ``eks_inference:spotGrace``.
            severity: What happens instead.
            reason: Why, for whoever reads the synthesis.

        Raises:
            ConfigurationError: There is no such rule, or no reason.
        """
        with Problems("guardrails") as problems:
            problems.include(
                switch_problems(rule=rule, severity=severity, reason=reason)
            )
        report, path = place(self._scope)
        report.constructs[path] = self._scope
        report.switches.append(
            _Switch(path=path, rule=rule, severity=Severity(severity), reason=reason)
        )


def switch_problems(*, rule: object, severity: object, reason: object) -> list[str]:
    """Return what is wrong with a switch; see ``Guardrails.switch``."""
    known = {*(item.id for item in MODEL_RULES), *(item.id for item in POOL_RULES)}
    problems = Problems()
    problems.one_of("rule", rule, sorted(known))
    problems.text("reason", reason)
    problems.one_of("severity", severity, [item.value for item in Severity])
    return problems.messages
