"""The model that is really served, and questions to vLLM outside of a server."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eks_inference import QueueScaling, SecretKey
from eks_inference.dashboards import model_dashboard
from eks_inference.manifests import Manifest
from eks_inference.manifests.alert_rules_model import alerts_of
from eks_inference.manifests.model import serving_manifests
from eks_inference.manifests.serving import Serving
from tests.e2e.aws import Agent, agent, s3, upload
from tests.e2e.pod import Pod, running
from tests.e2e.replacements import VLLM_ENVIRONMENT
from tests.e2e.scraping import vllm_query
from tests.e2e.variants import scalings
from tests.library.conftest import make_model, make_serving

SEQUENCES = 4
"""What a small machine computes at once, and still streams at a readable speed."""

MOST_REPLICAS = 40
"""More than the default, so that the limit does not hide the arithmetic."""

_HERE = Path(__file__).parent
_ASK_SECONDS = 300


def live_serving(**changes: Any) -> Serving:
    """Return the model that is served, with some values changed."""
    scaling = changes.pop("scaling", QueueScaling(max_replicas=MOST_REPLICAS))
    model = make_model(
        name="tiny",
        served_name="team/tiny:1",
        prefix="models/tiny/",
        # the least that can be said; a megabyte it is
        weights_gb=0.01,
        max_num_seqs=SEQUENCES,
    )
    return make_serving(
        model=model, scaling=scaling, api_key=SecretKey("tiny-clients"), **changes
    )


def live_scaled_objects() -> dict[str, Manifest]:
    """Return the live model's ScaledObject for every signal and activation."""
    return {
        name: objects(live_serving(**values))["ScaledObject"]
        for name, values in scalings().items()
    }


def live_queries() -> list[str]:
    """Return what scalers, alerts and the dashboard ask about the live model."""
    serving = live_serving()
    board = model_dashboard(
        namespace=serving.namespace,
        name=serving.name,
        served_name=serving.model.client_name,
    )
    return [
        *(
            query
            for scaled in live_scaled_objects().values()
            for trigger in scaled["spec"]["triggers"]
            if (query := vllm_query(trigger))
        ),
        *(alert.expr for alert in alerts_of(serving)),
        *(query.expression for panel in board.panels for query in panel.queries),
    ]


def objects(serving: Serving) -> dict[str, Manifest]:
    """Return the rendered objects of a model by their kind."""
    return {item["kind"]: item for item in serving_manifests(serving)}


@dataclass(frozen=True)
class Site:
    """Where the weights are, and who hands out credentials for them.

    Args:
        here: What the processes of a pod must be told.
        agent: The Pod Identity agent.
        folder: A folder for what runs.
    """

    here: dict[str, object]
    agent: Agent
    folder: Path

    @contextmanager
    def running(self, name: str, deployment: Manifest) -> Iterator[Pod]:
        """Run the pod of a Deployment.

        Args:
            name: Name of its folder.
            deployment: The Deployment.
        """
        with running(deployment, self.folder / name, self.here) as pod:
            yield pod


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    """Make a model, and run the bucket that it lies in.

    Args:
        folder: An empty folder.
    """
    made = tiny_model(folder / "model")
    with s3(folder) as address, agent(folder) as identity:
        upload(address, live_serving().model.uri, made)
        here = {"s3": address, "agent": identity.url, "token": identity.token}
        yield Site(here, identity, folder)


def tiny_model(folder: Path) -> Path:
    """Make a model with random weights."""
    _run("tiny_model.py", str(folder))
    return folder


def offers() -> dict[str, Any]:
    """Return the version, flags and environment variables of vLLM."""
    found: dict[str, Any] = json.loads(_run("ask_vllm.py", "offers"))
    return found


def accepts(requests: dict[str, list[str]], tiny: Path) -> dict[str, dict[str, str]]:
    """Return what vLLM has against lists of arguments, by the level that finds it.

    Args:
        requests: Arguments of ``vllm serve``, by a name of theirs.
        tiny: A model that takes the place of the one in the bucket.
    """
    asked = json.dumps(list(requests.values()))
    answers = json.loads(_run("ask_vllm.py", "accepts", str(tiny), asked=asked))
    return dict(zip(requests, answers, strict=True))


def _run(script: str, *arguments: str, asked: str = "") -> str:
    done = subprocess.run(
        [VLLM_ENVIRONMENT / "bin" / "python", _HERE / script, *arguments],
        input=asked,
        capture_output=True,
        text=True,
        check=False,
        timeout=_ASK_SECONDS,
        # the default model is on a hub that must not be asked
        env={
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "PATH": "/usr/bin:/bin",
        },
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
