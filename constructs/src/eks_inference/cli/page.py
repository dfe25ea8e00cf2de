"""A plan as one page that needs nothing from the network."""

from jinja2 import Environment, PackageLoader, StrictUndefined

from eks_inference.cli import documents
from eks_inference.cli.documents import Document

_MEMORY_PARTS = {
    "weights": "weights",
    "overhead": "overhead of vLLM",
    "kv_cache": "KV cache",
}
"""Parts of a GPU's memory, as the style sheet and as people call them."""


def page(document: Document) -> str:
    """Return a plan as HTML: memory of a GPU, cold start and cost.

    Args:
        document: The plan as plain data.
    """
    environment = Environment(
        loader=PackageLoader("eks_inference.cli", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        plan=document,
        cost_names=documents.COST_NAMES,
        traffic_names=documents.TRAFFIC_NAMES,
        pool_rows=documents.pool_rows(document),
        replica_rows=documents.replica_rows(document),
        load_text=documents.load_text(document["cost"]),
        bars=[_bar(fit) for fit in document["fit"]],
        phases=_waterfall(document["cold_start"]),
    )


def _bar(fit: Document) -> Document:
    """Return the parts of a GPU's memory, in shares of what CUDA reports."""
    memory = fit["gib_per_gpu"]
    parts = [
        (kind, name, max(0.0, memory[kind])) for kind, name in _MEMORY_PARTS.items()
    ]
    parts.append(("rest", "not for vLLM", memory["total"] - memory["usable"]))
    # what does not fit is drawn to the edge; the problems say by how much it misses
    whole = max(memory["total"], sum(gib for _, _, gib in parts))
    return {
        "fit": fit,
        "parts": [
            {"kind": kind, "name": name, "gib": gib, "share": 100 * gib / whole}
            for kind, name, gib in parts
        ],
    }


def _waterfall(start: Document) -> list[Document]:
    """Return the phases with where their bars begin and end, in shares of the total."""
    total = max(start["p50_seconds"], 1e-9)
    begin = 0.0
    rows = []
    for phase in start["phases"]:
        rows.append(
            {
                **phase,
                "begin": 100 * begin / total,
                "length": 100 * phase["p50_seconds"] / total,
            }
        )
        begin += phase["p50_seconds"]
    return rows
