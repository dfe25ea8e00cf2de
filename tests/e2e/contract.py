"""The recorded contract of vLLM, and what breaks it."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

FILE = Path(__file__).parents[1] / "library" / "vllm_contract.json"

CONTRACT: dict[str, Any] = json.loads(FILE.read_text())

FROM_SCRAPING = {"namespace", "job", "pod", "deployment"}
"""Labels that a Prometheus or a collector adds to what a pod shows."""

_PART = re.compile("_(bucket|sum|count)$")
_PARTED = ("histogram", "summary")


class Family(TypedDict):
    """One metric of a page.

    Args:
        type: ``gauge``, ``counter``, ``histogram`` or ``summary``.
        labels: Names of its labels.
        buckets: Upper bounds of a histogram, as vLLM writes them.
    """

    type: str
    labels: list[str]
    buckets: NotRequired[list[str]]


def families(page: str) -> dict[str, Family]:
    """Return the metrics of a page in Prometheus' text format, by their names.

    The time at which a series was created is left out: it is nobody's signal.
    """
    found: dict[str, Family] = {}
    labels: dict[str, dict[str, None]] = {}
    buckets: dict[str, dict[str, None]] = {}
    for line in page.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            found[name] = {"type": kind, "labels": []}
        elif line and not line.startswith("#"):
            series, _, rest = line.partition("{")
            series = series.split()[0]
            for owner in (series, _PART.sub("", series)):
                for label, value in re.findall(r'(\w+)="([^"]*)"', rest):
                    if label == "le":
                        buckets.setdefault(owner, {})[value] = None
                    else:
                        labels.setdefault(owner, {})[label] = None
    for name, family in found.items():
        family["labels"] = sorted(labels.get(name, ()))
        if family["type"] == "histogram":
            family["buckets"] = list(buckets.get(name, ()))
    return {
        name: found[name] for name in sorted(found) if not name.endswith("_created")
    }


def flag_problems(arguments: Iterable[str]) -> list[str]:
    """Return what vLLM would not take of arguments, the model left out.

    Args:
        arguments: Flags, each with its value behind a ``=``.
    """
    found = []
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        takes = CONTRACT["flags"].get(flag)
        if takes is None:
            found.append(f"vLLM has no flag {flag}")
        elif (equals == "") != (takes == "nothing") or not _is(value, takes):
            found.append(f"{flag} takes {takes}, got {value!r}")
    return found


def query_problems(query: str, metrics: Mapping[str, Any] | None = None) -> list[str]:
    """Return what a query asks of vLLM that it does not show.

    Args:
        query: PromQL, or a query of the OpenTelemetry add-on.
        metrics: What it shows. Default: the contract's.
    """
    known = CONTRACT["metrics"] if metrics is None else metrics
    found = []
    for name, selector in re.findall(r"\b([a-z]\w+(?::\w+)?)(?:\{([^}]*)\})?", query):
        # a collector renames for Kedify's trigger
        family = _family(re.sub("^vllm_", "vllm:", name), known)
        if family is not None:
            found += _selector_problems(name, selector, family)
        elif name.startswith(("vllm:", "vllm_")):
            found.append(f"vLLM has no metric {name}")
    return found


def _selector_problems(name: str, selector: str, family: Family) -> list[str]:
    parts = re.findall(r"""(\w+)\s*(=~|!~|!=|=)\s*["']?([^"',]*)""", selector)
    own = {*family["labels"], *FROM_SCRAPING}
    buckets = family.get("buckets", []) if name.endswith("_bucket") else []
    if buckets:
        own.add("le")
    return [
        *(
            f"{name} has no label {label}"
            for label in sorted({label for label, _, _ in parts} - own)
        ),
        *(
            f"{name} has no bucket {value}"
            for label, operator, value in parts
            if buckets and (label, operator) == ("le", "=") and value not in buckets
        ),
    ]


def _family(name: str, known: Mapping[str, Any]) -> Any:
    if name in known:
        # nobody can ask for a histogram as a whole
        return None if known[name]["type"] in _PARTED else known[name]
    parted = known.get(_PART.sub("", name))
    return parted if parted and parted["type"] in _PARTED else None


def _is(value: str, takes: str | list[str]) -> bool:
    if isinstance(takes, list):
        return value in takes
    match takes:
        case "integer":
            return re.fullmatch(r"-?\d+", value) is not None
        case "number":
            return re.fullmatch(r"-?\d+(\.\d+)?", value) is not None
        case "json":
            return _is_json(value)
        case "json or text":
            return not value.startswith("{") or _is_json(value)
    return True


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except ValueError:
        return False
    return True
