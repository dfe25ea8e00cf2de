"""Latency: what do the clients of a model wait for?"""

from eks_inference import metric_names as names
from eks_inference.dashboards.scope import (
    CHOSEN,
    MODEL_VARIABLE,
    NAMESPACE_VARIABLE,
    Scope,
)
from eks_inference.dashboards.values import Dashboard, Panel, Query

QUANTILES = {"P50": "0.5", "P95": "0.95", "P99": "0.99"}
"""What a usual request, a slow one and a very slow one of a model waits."""


def first_token(scope: Scope, *, width: int = 12) -> Panel:
    """Return the panel that shows the time to the first token.

    Args:
        scope: The models.
        width: Width in columns. Default: half.
    """
    return _quantiles(
        scope,
        "Time to the first token",
        "How long does a client see nothing? It grows with the queue and the prompt.",
        names.TIME_TO_FIRST_TOKEN,
        width=width,
    )


def token_rate(scope: Scope) -> Panel:
    """Return the panel that shows how many tokens go in and come out.

    Args:
        scope: The models.
    """
    return Panel(
        title="Tokens per second",
        answers="How much work is done? Prompt tokens found in the cache count too.",
        queries=tuple(
            Query(f"sum by (job) ({_rate(metric, scope)})", f"{{{{job}}}} {name}")
            for name, metric in {
                "prompt": names.PROMPT_TOKENS,
                "generated": names.GENERATION_TOKENS,
            }.items()
        ),
    )


def finished(scope: Scope) -> Panel:
    """Return the panel that shows how requests end.

    Args:
        scope: The models.
    """
    return Panel(
        title="Requests that end, by reason",
        answers=(
            "How many requests are served, and how many fail? 'abort' is a client that "
            "has gone, 'error' is the server's own."
        ),
        queries=(
            Query(
                f"sum by (job, finished_reason) ({_rate(names.FINISHED, scope)})",
                "{{job}} {{finished_reason}}",
            ),
        ),
        unit="reqps",
        stacked=True,
    )


def cache(scope: Scope) -> Panel:
    """Return the panel that shows how full the KV cache is, and what that costs.

    Args:
        scope: The models.
    """
    return Panel(
        title="KV cache and preemptions",
        answers=(
            "Is the GPU's memory the limit? With preemptions, requests are thrown "
            "out of the full cache and computed again."
        ),
        queries=(
            Query(
                f"max by (job) ({names.KV_CACHE_USAGE}{{{scope.series}}})",
                "{{job}} fullest replica, share",
            ),
            Query(
                f"sum by (job) ({_rate(names.PREEMPTIONS, scope)})",
                "{{job}} preemptions/s",
            ),
        ),
    )


def latency_dashboard() -> Dashboard:
    """Return the dashboard."""
    return Dashboard(
        uid="eks-inference-latency",
        title="LLM inference: latency",
        description="What clients wait for, and what the replicas do meanwhile.",
        panels=(
            first_token(CHOSEN),
            _quantiles(
                CHOSEN,
                "Time between two tokens",
                "Is the text faster than people read? It grows with the batch.",
                names.INTER_TOKEN_LATENCY,
            ),
            _quantiles(
                CHOSEN,
                "Whole request",
                "How long until the last token? It grows with the answer's length.",
                names.REQUEST_LATENCY,
            ),
            _quantiles(
                CHOSEN,
                "Time in the queue",
                "How long do requests wait for a place in a batch? Here more replicas "
                "help.",
                names.QUEUE_TIME,
            ),
            token_rate(CHOSEN),
            finished(CHOSEN),
            _prefix_hits(),
            cache(CHOSEN),
        ),
        variables=(NAMESPACE_VARIABLE, MODEL_VARIABLE),
    )


def _prefix_hits() -> Panel:
    hits, queries = (
        f"sum by (job) ({_rate(metric, CHOSEN)})"
        for metric in (names.PREFIX_HITS, names.PREFIX_QUERIES)
    )
    return Panel(
        title="Prefix cache hits",
        answers="Which share of the prompt tokens needs no computing?",
        queries=(Query(f"{hits} / {queries}", "{{job}}"),),
        unit="percentunit",
    )


def _quantiles(
    scope: Scope, title: str, answers: str, metric: str, *, width: int = 12
) -> Panel:
    buckets = f"sum by (job, le) ({_rate(f'{metric}_bucket', scope)})"
    return Panel(
        title=title,
        answers=answers,
        queries=tuple(
            Query(f"histogram_quantile({share}, {buckets})", f"{{{{job}}}} {name}")
            for name, share in QUANTILES.items()
        ),
        unit="s",
        width=width,
    )


def _rate(metric: str, scope: Scope) -> str:
    return f"rate({metric}{{{scope.series}}}[$__rate_interval])"
