"""How the metrics of a model become one number: what KEDA divides by a target."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from eks_inference._check import ConfigurationError, Problems
from eks_inference.keda_formula import Formula
from eks_inference.keda_formula.parser import (
    Binary,
    Call,
    Conditional,
    Item,
    ListOf,
    Literal,
    Name,
    Node,
    Unary,
    parse,
)
from eks_inference.metric import Metric
from eks_inference.metric_names import KV_CACHE_USAGE, RUNNING, WAITING

RESERVED_TRIGGERS = ("alive", "pods", "queue", "schedule", "http", "jobs", "gateway")
"""Names of the triggers that a model may have beside those of its formula."""

_LARGEST_TARGET = 1_000_000_000

_NAME = r"[a-zA-Z_][a-zA-Z0-9_]*"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingFormula:
    """A formula over metrics of vLLM, and the value at which one replica is full.

    KEDA evaluates it with expr-lang; the autoscaler asks for the value divided by the
    target, rounded up. It must therefore grow with the load of all replicas together,
    be zero for an idle model, and be a number whatever the metrics are.

    Args:
        expression: The formula, over the names in ``metrics``.
        metrics: What each name stands for.
        target: Value at which one replica is full, or None for ``target_share`` of the
            model's ``max_num_seqs``, which fits what counts requests. Default: None.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.

    Example:
        ```python
        # tokens in flight, of replicas with room for 74,000 in their KV cache
        ScalingFormula(
            expression="kv * 74000 + waiting * 2000",
            metrics={
                "kv": Metric("vllm:kv_cache_usage_perc"),
                "waiting": Metric("vllm:num_requests_waiting"),
            },
            target=50_000,
        )
        ```
    """

    expression: str
    metrics: Mapping[str, Metric] = field(hash=False)
    target: int | None = None

    def __post_init__(self) -> None:
        with Problems("formula") as problems:
            if self.target is not None:
                problems.integer(
                    "target", self.target, minimum=1, maximum=_LARGEST_TARGET
                )
            named = problems.instance("metrics", self.metrics, Mapping) and (
                _check_metrics(problems, self.metrics)
            )
            if problems.text("expression", self.expression) and named:
                problems.include(_expression_problems(self.expression, self.metrics))

    @classmethod
    def queue(cls, *, waiting_weight: int = 10) -> "ScalingFormula":
        """Count the requests that run, and more so those that wait.

        Args:
            waiting_weight: How much more a waiting request counts. Default: 10, the
                guide's.

        Raises:
            ConfigurationError: The weight is no positive whole number.
        """
        with Problems("formula") as problems:
            problems.integer("waiting_weight", waiting_weight, minimum=1, maximum=1_000)
        return cls(
            expression=f"running + waiting * {waiting_weight}",
            metrics={"running": Metric(RUNNING), "waiting": Metric(WAITING)},
        )

    @classmethod
    def queue_or_kv_cache(
        cls, *, full_requests: int, full_share: float = 0.7, waiting_weight: int = 10
    ) -> "ScalingFormula":
        """Count requests or the KV cache that they fill, whichever needs more replicas.

        Long prompts fill the cache while few requests run; prompts that are computed
        slowly wait while the cache is empty. Neither alone sees both.

        Args:
            full_requests: Running requests at which one replica is full, below the
                model's ``max_num_seqs``.
            full_share: Share of the KV cache at which one replica is full. Default:
                0.7, below the 0.9 at which an alert fires. Not measured.
            waiting_weight: How much more a waiting request counts. Default: 10.

        Raises:
            ConfigurationError: A value breaks a rule; all of them are named.
        """
        with Problems("formula") as problems:
            problems.integer("full_requests", full_requests, minimum=1, maximum=4_096)
            problems.number("full_share", full_share, minimum=0.05, maximum=0.95)
            problems.integer("waiting_weight", waiting_weight, minimum=1, maximum=1_000)
        return cls(
            expression=(
                f"max(running + waiting * {waiting_weight}, "
                f"kv * {full_requests / full_share:.6g})"
            ),
            metrics={
                "running": Metric(RUNNING),
                "waiting": Metric(WAITING),
                "kv": Metric(KV_CACHE_USAGE),
            },
            target=full_requests,
        )


def expression_names(expression: str) -> set[str]:
    """Return the names that a formula uses.

    Args:
        expression: The formula.

    Raises:
        ConfigurationError: It is no formula.
    """
    return {node.name for node in _nodes(parse(expression)) if isinstance(node, Name)}


def unsafe_parts(expression: str) -> list[str]:
    """Return what a formula must not do: divide by zero, or count nothing as a number.

    Args:
        expression: The formula.

    Raises:
        ConfigurationError: It is no formula.
    """
    problems = Problems()
    for node in _nodes(parse(expression)):
        if not isinstance(node, Binary):
            continue
        if node.operator == "/" and not _is_positive(node.right):
            problems.add(
                "'expression' must not divide by what can be zero, got it in "
                f"{expression!r}; divide by a number, or by max(..., 1)"
            )
        if node.operator in ("**", "^") and not _is_positive(node.right):
            problems.add(
                "'expression' must have a positive number as exponent, got another in "
                f"{expression!r}: zero to a negative power is infinite"
            )
        if node.operator == "??" and isinstance(node.right, Literal):
            problems.add(
                "'expression' must not put a number in place of a metric that is "
                f"missing, got '??' in {expression!r}: an outage would look like that "
                "load; remove it, and let the fallback keep the replicas"
            )
    return problems.messages


def _check_metrics(problems: Problems, metrics: Mapping[str, Metric]) -> bool:
    sound = problems.not_empty("metrics", metrics, repair="name one")
    for name, metric in metrics.items():
        sound &= problems.matches(
            "metrics",
            name,
            _NAME,
            rule="named by identifiers, which a formula can use",
            repair="for example 'running'",
        )
        if name in RESERVED_TRIGGERS:
            sound = False
            problems.broken(
                "'metrics' must not have the name of a trigger of the library's own",
                name,
                "rename it",
            )
        sound &= problems.instance(f"metrics[{name!r}]", metric, Metric)
    return sound


def _expression_problems(expression: str, metrics: Mapping[str, Metric]) -> list[str]:
    problems = Problems()
    try:
        formula = Formula(expression, triggers=list(metrics))
    except ConfigurationError as error:
        return list(error.problems)
    unused = sorted(metrics.keys() - expression_names(expression))
    if unused:
        # KEDA takes no trigger into account that its formula does not name
        problems.broken(
            "'expression' must use every name of 'metrics'",
            expression,
            f"use or remove {', '.join(unused)}",
        )
    problems.include(unsafe_parts(expression))
    if not problems.messages and formula.evaluate(dict.fromkeys(metrics, 0.0)) != 0:
        problems.broken(
            "'expression' must be 0 for a model without load",
            expression,
            "or replicas would stay that nobody needs",
        )
    return problems.messages


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    match node:
        case ListOf(items):
            below = items
        case Unary(_, operand):
            below = (operand,)
        case Binary(_, left, right):
            below = (left, right)
        case Conditional(condition, then, otherwise):
            below = (condition, then, otherwise)
        case Call(_, arguments, predicate):
            below = arguments if predicate is None else (*arguments, predicate)
        case Literal() | Name() | Item():
            below = ()
    for child in below:
        yield from _nodes(child)


def _is_positive(node: Node) -> bool:
    """Say whether an expression is above zero whatever the metrics are."""
    match node:
        case Literal(value):
            return isinstance(value, int | float) and value > 0
        case Call("max", arguments):
            return any(map(_is_positive, arguments))
        case Binary("*" | "/" | "+", left, right):
            return _is_positive(left) and _is_positive(right)
    return False
