"""Every alert, evaluated by Prometheus' own engine over made-up series."""

import json
import math
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from eks_inference.manifests.alert_rules_cluster import cluster_alerts, cluster_rule
from eks_inference.manifests.alert_rules_model import PAGES, model_alerts, model_rule
from eks_inference.manifests.alerts import RUNBOOKS
from eks_inference.metric import Series
from eks_inference.objective import SMALLEST_SHARE, LatencyObjective
from tests.library.conftest import make_model, make_serving, refusal
from tests.observability.alert_stories import (
    ASLEEP,
    COLD_START_OF_A_MODEL,
    NORMAL_DAY,
    STORIES,
    Fired,
    Story,
)
from tests.observability.alert_world import (
    MAX_REPLICAS,
    NAMESPACE,
    SERVING,
    Pod,
    Samples,
    World,
    always,
)
from tests.observability.prometheus_server import binary

ROOT = Path(__file__).parents[2]
MODEL = model_rule(SERVING)
CLUSTER = cluster_rule(namespace="monitoring")
RULES = {
    (rule["alert"], rule["labels"]["severity"]): rule
    for manifest in (MODEL, CLUSTER)
    for group in manifest["spec"]["groups"]
    for rule in group["rules"]
}
LIMIT = 8 * 1024
"""Bytes of a model's rules; fifty of them are less than half of a template."""


def run(*arguments: object) -> None:
    """Run promtool; what it does not accept fails the test with its words."""
    done = subprocess.run(
        [binary("PROMTOOL"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def rule_files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The rules as files, as the operator would write them."""
    folder = tmp_path_factory.mktemp("rules")
    names = []
    for manifest in (MODEL, CLUSTER):
        path = folder / f"{manifest['metadata']['name']}.yaml"
        path.write_text(yaml.safe_dump(manifest["spec"]))
        names.append(str(path))
    return names


def play(
    folder: Path,
    rule_files: list[str],
    samples: Samples,
    *,
    step: int,
    alerts: Iterable[Mapping[str, Any]] = (),
    queries: Iterable[Mapping[str, Any]] = (),
) -> None:
    """Let promtool play a story and compare what happens with what is expected."""
    story = {
        "interval": f"{step}s",
        "input_series": [
            {"series": name, "values": values} for name, values in samples.items()
        ],
        "alert_rule_test": list(alerts),
        "promql_expr_test": list(queries),
    }
    path = folder / "story.yaml"
    content = {
        "rule_files": rule_files,
        "evaluation_interval": f"{step}s",
        "tests": [story],
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    run("test", "rules", path)


def seconds(minutes: float) -> str:
    """Return a time as promtool reads it."""
    return f"{round(minutes * 60)}s"


def sent(fired: Fired) -> dict[str, Any]:
    """Return what Prometheus sends of an alert, in promtool's words."""
    rule = RULES[fired.name, fired.severity]
    return {
        "exp_labels": {**rule["labels"], **fired.labels},
        "exp_annotations": {**rule["annotations"], "summary": fired.summary},
    }


def expected(story: Story) -> list[dict[str, Any]]:
    """Return that the alerts of a story fire in time, and no other does."""
    moments = [
        (story.not_at, story.fired[0].name, story.before),
        *(
            (story.at, name, story.fired)
            for name in sorted({name for name, _ in RULES})
        ),
    ]
    return [
        {
            "eval_time": seconds(at),
            "alertname": name,
            "exp_alerts": [sent(item) for item in fired if item.name == name],
        }
        for at, name, fired in moments
    ]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.title)
def test_alerts_fire_in_their_stories(
    tmp_path: Path, rule_files: list[str], story: Story
) -> None:
    """Exactly the alerts of a story fire, with their labels, and none too early."""
    samples = story.world.samples(story.at, story.step)
    play(tmp_path, rule_files, samples, step=story.step, alerts=expected(story))


def test_every_alert_has_a_story() -> None:
    """There is no alert that was never seen firing, and none without its own story."""
    seen = {
        (item.name, str(item.severity)) for story in STORIES for item in story.fired
    }
    assert seen == set(RULES)
    about = {story.fired[0].name for story in STORIES}
    assert about == {name for name, _ in RULES}


@pytest.mark.parametrize(
    ("world", "minutes"),
    [(NORMAL_DAY, 24 * 60), (COLD_START_OF_A_MODEL, 150), (ASLEEP, 180)],
    ids=["a normal day", "a cold start", "a model that sleeps"],
)
def test_nothing_fires_when_nothing_is_wrong(
    tmp_path: Path, rule_files: list[str], world: World, minutes: float
) -> None:
    """In a day, in a cold start and in sleep, no alert ever fires."""
    fired = f'count_over_time(ALERTS{{alertstate="firing"}}[{seconds(minutes)}])'
    query = {"expr": fired, "eval_time": seconds(minutes), "exp_samples": []}
    samples = world.samples(minutes, 30)
    play(tmp_path, rule_files, samples, step=30, queries=[query])


def test_nothing_fires_where_nothing_is_reported(
    tmp_path: Path, rule_files: list[str]
) -> None:
    """Without any series no rule has a value, not even one that is no number."""
    queries = [
        {"expr": part, "eval_time": "10m", "exp_samples": []}
        for rule in RULES.values()
        for part in parts(rule["expr"])
    ]
    other = {'up{job="other"}': "1x60"}
    play(tmp_path, rule_files, other, step=30, queries=queries)


def test_no_traffic_is_no_number(tmp_path: Path, rule_files: list[str]) -> None:
    """A model without requests has no share of late or failed ones, not even NaN."""
    queries = [
        {"expr": part, "eval_time": "30m", "exp_samples": []}
        for rule in RULES.values()
        for part in parts(rule["expr"])
        if " / " in part
    ]
    assert len(queries) == 2 + 2 + 2 * (len(PAGES) + 1)
    samples = World(requests=always(0)).samples(30, 30)
    play(tmp_path, rule_files, samples, step=30, queries=queries)


def parts(expression: str) -> list[str]:
    """Return the ratios of an expression, without what they are compared with."""
    pieces = re.split(r" (?:or(?! vector)|and|unless) ", expression)
    return [re.sub(r" (>|>=|==) [\d.]+$", "", piece) for piece in pieces]


def test_promtool_accepts_the_rules(rule_files: list[str]) -> None:
    """Prometheus' own check has nothing to say about the rules."""
    run("check", "rules", *rule_files)


def test_other_models_are_not_seen(tmp_path: Path, rule_files: list[str]) -> None:
    """What happens to a model of a like name, or elsewhere, is not told of this one."""
    trouble = World(
        waiting=always(99),
        broken=always(0.5),
        refused=always(0.5),
        cache=always(1),
        scaler_errors=always(1),
        active=always(0),
        desired=always(MAX_REPLICAS),
        pods=(Pod(), Pod("6f7d-bbbbb", started=math.inf, ready=math.inf)),
    ).samples(60, 30)
    trouble = {
        name: text for name, text in trouble.items() if "node" not in name.split("{")[0]
    }
    alike = {name.replace("chat", "chat-b"): values for name, values in trouble.items()}
    elsewhere = {
        name.replace(NAMESPACE, "other"): values for name, values in trouble.items()
    }
    fired = 'count_over_time(ALERTS{alertname!~".*Node.*"}[1h])'
    query = {"expr": fired, "eval_time": "1h", "exp_samples": []}
    samples = {**World().samples(60, 30), **alike, **elsewhere}
    play(tmp_path, rule_files, samples, step=30, queries=[query])


def test_missing_promtool_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without promtool nothing is proved, and the tests say how to get it."""
    monkeypatch.setenv("PROMTOOL", "/nowhere/promtool")
    with pytest.raises(RuntimeError, match="'promtool' is not on the path; 'make"):
        binary("PROMTOOL")


def test_rules_fit_a_template() -> None:
    """The rules of a model with a short name are below 8 KiB, fifty of them 400 KiB."""
    model = make_model(name="mistral")
    size = len(json.dumps(model_rule(make_serving(model=model)), separators=(",", ":")))
    assert size < LIMIT


def test_rules_follow_the_model() -> None:
    """Limits and waiting times come from the plan, the scaling and the objective."""
    objective = LatencyObjective(ttft_seconds=1, inter_token_seconds=0.05, share=0.99)
    alerts = {
        (alert.name, str(alert.severity)): alert
        for alert in model_alerts(
            SERVING.series, max_replicas=7, cold_start_seconds=99.5, objective=objective
        )
    }
    at_maximum = alerts["InferenceAtMaximum", "warning"]
    assert ">= 7 and" in at_maximum.expr
    assert alerts["InferencePodPending", "warning"].hold == "100s"
    assert alerts["InferenceMetricsAbsent", "critical"].hold == "400s"
    first = alerts["InferenceFirstTokenSlow", "warning"]
    assert 'le="1.0"' in first.expr
    assert first.expr.endswith("> 0.01")
    assert "more than 1 s" in first.summary
    assert 'le="0.05"' in alerts["InferenceTokensSlow", "warning"].expr
    pages = alerts["InferenceBudgetBurn", "critical"].expr
    assert re.findall(r" > (0\.\d+)", pages) == ["0.144"] * 2 + ["0.06"] * 2
    assert re.findall(r"le=.*?\[(\w+)\]", pages) == ["1h", "5m", "6h", "30m"]


def test_long_looks_are_rare() -> None:
    """What reads three days is evaluated every five minutes, in a group of its own."""
    often, rarely = MODEL["spec"]["groups"]
    assert "interval" not in often
    assert rarely["interval"] == "5m"
    assert [rule["labels"]["severity"] for rule in rarely["rules"]] == ["warning"]
    assert "[3d]" in rarely["rules"][0]["expr"]
    assert "[3d]" not in json.dumps(often)


def test_every_selector_names_the_model() -> None:
    """Each selector of vLLM's series has namespace, job and the served name."""
    scope = 'namespace="inference",job="inference/chat",model_name="team/chat"'
    for (name, _), rule in RULES.items():
        for selector in re.findall(r"vllm:\w+\{(.*?)\}", rule["expr"]):
            assert selector.startswith(scope), name
        bare = re.findall(r"(?:vllm:|kube_|keda_)\w+(?!\w*\{)\b(?!\{)", rule["expr"])
        assert not bare, name


def test_names_with_quotes_are_escaped() -> None:
    """A served name with quotes and backslashes stays one string of PromQL."""
    series = Series(namespace="a", name="b", served_name='c "d"\\e')
    alerts = model_alerts(
        series, max_replicas=1, cold_start_seconds=60, objective=LatencyObjective()
    )
    assert 'model_name="c \\"d\\"\\\\e"' in alerts[0].expr


def test_names_follow_the_release_of_vllm() -> None:
    """An older vLLM is asked under the names that it has."""
    image = "registry.example.com/team/vllm:v0.9.1"
    text = json.dumps(model_rule(make_serving(image=image)))
    assert "vllm:gpu_cache_usage_perc" in text
    assert "vllm:time_per_output_token_seconds_bucket" in text
    assert "vllm:kv_cache_usage_perc" not in text
    tagged = make_serving(image="registry.example.com/team/vllm:ours")
    assert "vllm:kv_cache_usage_perc" in json.dumps(model_rule(tagged))


def test_fastest_page_can_fire() -> None:
    """With the least share that is allowed, some share of late requests still pages."""
    fastest = max(factor for factor, _, _ in PAGES)
    assert fastest * LatencyObjective(share=SMALLEST_SHARE).budget < 1
    assert fastest * (1 - SMALLEST_SHARE + 0.01) > 1


def test_runbooks_can_lie_elsewhere() -> None:
    """Each alert points to its own section, at the address that is given."""
    for manifest in (
        model_rule(SERVING, runbook_url="https://wiki.example.com/r"),
        cluster_rule(namespace="a", runbook_url="https://wiki.example.com/r"),
    ):
        for group in manifest["spec"]["groups"]:
            for rule in group["rules"]:
                url = f"https://wiki.example.com/r#{rule['alert'].lower()}"
                assert rule["annotations"]["runbook_url"] == url


def test_runbooks_have_a_section_for_each_alert() -> None:
    """The runbooks' sections are the alerts, no more and no fewer."""
    text = (ROOT / RUNBOOKS).read_text()
    sections = re.findall(r"^## (Inference\w+)$", text, re.MULTILINE)
    assert sorted(sections) == sorted({name for name, _ in RULES})
    for section in text.split("\n## ")[1:]:
        name = section.splitlines()[0]
        if name.startswith("Inference"):
            for question in ("**Means**", "**Look**", "**Do**"):
                assert question in section, f"{name}: {question}"
            assert "```" in section, name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"namespace": "A"}, "alerts: 'namespace' must be a DNS label"),
        ({"spot_interruptions": -1}, "'spot_interruptions' must be 0 to 1000, got -1"),
        ({"spot_interruptions": None}, "'spot_interruptions' must be a whole number"),
        ({"runbook_url": ""}, "'runbook_url' must be a text that is not empty"),
    ],
)
def test_fails_when_the_cluster_is_not_described(
    changes: dict[str, Any], message: str
) -> None:
    """Values that no rule can hold are refused with their name."""
    values = {"namespace": "monitoring", **changes}
    assert message in refusal(lambda: cluster_rule(**values))


def test_spot_interruptions_are_adjustable() -> None:
    """A cluster that lives on spot nodes may bear more interruptions."""
    alerts = {alert.name: alert for alert in cluster_alerts(spot_interruptions=20)}
    assert alerts["InferenceSpotInterruptions"].expr.endswith("[1h])) > 20")
