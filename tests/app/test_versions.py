"""The version table: what its rows must keep, and where each of them shows."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference.image_pull import IMAGE_PULL_TYPE
from eks_inference.manifests.otel_scaler import OTEL_SCALER_RELEASE
from eks_inference.testing import manifests
from infra import composition, platform, versions
from infra.settings import GuardrailSwitch, Settings
from infra.stages import STAGES, load
from infra.versions import (
    ADDONS,
    BOTTLEROCKET_NVIDIA,
    KARPENTER_POLICY,
    KARPENTER_SINCE,
    KEDA_TESTED,
    SUPPORTED,
    Versions,
    incompatibilities,
)
from tests.app.conftest import (
    RELEASE_TYPE,
    ROOT,
    Templates,
    of_kind,
    resources,
    statements,
    synthesis,
)
from tests.app.test_settings import problems_of

ROW = SUPPORTED["1.35"]
CUDA_13 = "0.31.0-gpu-py312-cu130-ubuntu24.04-ec2"
CUDA_12 = "0.16.0-gpu-py312-cu129-ubuntu22.04-ec2"
OLD = {"image_tag": CUDA_12}
"""An image that leaves the rules of older nodes alone."""

BROKEN: dict[str, tuple[Versions, dict[str, str], str]] = {
    "Kubernetes that Karpenter's charts are too old for": (
        ROW,
        {"karpenter": "1.8.4"},
        (
            "'KARPENTER_CHART' must be at least 1.9 for Kubernetes 1.35, got "
            "'1.8.4'; raise it"
        ),
    ),
    "Kubernetes that no release of Karpenter is known for": (
        replace(ROW, kubernetes="1.37", caution="new"),
        {},
        (
            "'kubernetes' must be at most 1.36, the newest in KARPENTER_SINCE, got "
            "'1.37'; look its Karpenter up and add it"
        ),
    ),
    "Karpenter without do-not-disrupt durations": (
        ROW,
        {"karpenter": "1.11.9"},
        (
            "'KARPENTER_CHART' must be at least 1.12 for a do-not-disrupt that "
            "ends, got '1.11.9'; raise it"
        ),
    ),
    "Karpenter with the policy of another release": (
        ROW,
        {"karpenter": "1.15.0"},
        (
            "'KARPENTER_CHART' must be of the minor release whose policy is in "
            "infra/identity.py (1.14), got '1.15.0'; compare the policy with the "
            "release's template, then raise KARPENTER_POLICY"
        ),
    ),
    "KEDA that nothing is known of": (
        ROW,
        {"keda": "2.21.0"},
        (
            "'KEDA_CHART' must be of a release in KEDA_TESTED (2.20), got "
            "'2.21.0'; look up which Kubernetes it is tested on and add it"
        ),
    ),
    "Kubernetes after the window of KEDA": (
        replace(ROW, kubernetes="1.36"),
        {},
        (
            "'caution' must say that KEDA 2.20 is tested on 1.33 to 1.35, got ''; "
            "or change KEDA_CHART"
        ),
    ),
    "Kubernetes before the window of KEDA": (
        replace(SUPPORTED["1.29"], caution=""),
        {},
        (
            "'caution' must say that KEDA 2.20 is tested on 1.33 to 1.35, got ''; "
            "or change KEDA_CHART"
        ),
    ),
    "Kubernetes that drops the failure policy of jobs": (
        replace(ROW, kubernetes="1.25", caution="old"),
        {},
        (
            "'kubernetes' must be at least 1.26 for the failure policy of import "
            "jobs, got '1.25'; remove the row"
        ),
    ),
    "Bottlerocket without a variant yet": (
        replace(ROW, bottlerocket="1.52.9"),
        OLD,
        (
            "'bottlerocket' must be at least 1.53.0 for an nvidia variant for "
            "Kubernetes 1.35, got '1.52.9'; raise it"
        ),
    ),
    "Bottlerocket without a variant any more": (
        replace(SUPPORTED["1.29"], bottlerocket="1.58.0"),
        {},
        (
            "'bottlerocket' must be at most 1.57.0, the last with an nvidia "
            "variant for Kubernetes 1.29, got '1.58.0'; lower it"
        ),
    ),
    "Bottlerocket without parallel pulls to local disks": (
        replace(SUPPORTED["1.34"], bottlerocket="1.45.0"),
        OLD,
        (
            "'bottlerocket' must be at least 1.46.0 for parallel pulls to local "
            "disks, got '1.45.0'; raise it"
        ),
    ),
    "Bottlerocket with a driver that is too old": (
        replace(ROW, bottlerocket="1.56.9"),
        {},
        (
            "'bottlerocket' must be at least 1.57.0 for driver R580, which the "
            f"image '{CUDA_13}' needs, got '1.56.9'; raise it, or take an image "
            "with CUDA 12"
        ),
    ),
    "Bottlerocket that moves": (
        replace(ROW, bottlerocket="latest"),
        {},
        (
            "'bottlerocket' must be a release of three numbers, got 'latest'; what "
            "moves by itself replaces nodes on a day that nobody chose"
        ),
    ),
    "a chart that moves": (
        ROW,
        {"karpenter": "^1.14"},
        (
            "'KARPENTER_CHART' must be a release of three numbers, got '^1.14'; "
            "what moves by itself replaces nodes on a day that nobody chose"
        ),
    ),
    "a version of Kubernetes that is none": (
        replace(ROW, kubernetes="v1.35"),
        {},
        "'kubernetes' must be a minor release, got 'v1.35'",
    ),
    "a vLLM of which nothing is known": (
        ROW,
        {"image_tag": "0.8.5-gpu-py312-ec2"},
        "'vllm_version' must be at least 0.9.0, got '0.8.5'; use a newer one",
    ),
}
"""A row and its releases that break one rule, and what is said of it."""

CHARTS = {
    "karpenter-crd": "KARPENTER_CHART",
    "karpenter": "KARPENTER_CHART",
    "keda": "KEDA_CHART",
    "keda-add-ons-http": "KEDA_HTTP_CHART",
    OTEL_SCALER_RELEASE: "OTEL_SCALER_CHART",
    "kube-prometheus-stack": "PROMETHEUS_CHART",
    "dcgm-exporter": "DCGM_EXPORTER_CHART",
}
"""The chart of each release, by its constant in the table."""


TABLE = cast("dict[str, Versions]", SUPPORTED)
"""The table as what it is, so that a test can change a row of it."""


def judged(
    row: Versions,
    *,
    image_tag: str = CUDA_13,
    karpenter: str = versions.KARPENTER_CHART,
    keda: str = versions.KEDA_CHART,
) -> list[str]:
    """Return what is wrong with a row, without the row's name."""
    prefix = f"kubernetes_version {row.kubernetes!r}: "
    found = incompatibilities(row, image_tag=image_tag, karpenter=karpenter, keda=keda)
    return [text.removeprefix(prefix) for text in found]


@pytest.mark.parametrize("stage", sorted(STAGES))
@pytest.mark.parametrize("version", SUPPORTED)
def test_every_row_goes_together(version: str, stage: str) -> None:
    """No row of the table breaks a rule, with the image of any stage."""
    tag = STAGES[stage].image.tag
    assert incompatibilities(SUPPORTED[version], image_tag=tag) == []
    assert SUPPORTED[version].kubernetes == version


@pytest.mark.parametrize("case", BROKEN)
def test_row_that_breaks_a_rule_is_refused(case: str) -> None:
    """Each rule, broken once, says the name, the rule, the value and the repair."""
    row, releases, message = BROKEN[case]
    assert any(text.startswith(message) for text in judged(row, **releases))


def test_all_problems_of_a_row_are_named() -> None:
    """A row with several problems is told all of them, with its version."""
    row = replace(ROW, bottlerocket="1.45.0")
    texts = incompatibilities(row, image_tag=CUDA_13, karpenter="1.11.0", keda="3.0.0")
    assert len(texts) == 6
    assert all(text.startswith("kubernetes_version '1.35': '") for text in texts)


@pytest.mark.parametrize(
    ("tag", "accepted"),
    [
        (CUDA_12, True),
        ("0.27.0-cu129", True),
        ("v0.16.0", True),
        ("0.13-gpu-py312-ec2", False),  # no release that could be looked up
        (CUDA_13, False),
        ("v0.33.0", False),
        ("server-cuda-v2.3", False),
    ],
)
def test_driver_is_asked_for_unless_the_image_is_older(
    tag: str, accepted: bool
) -> None:
    """Only an image that is known to have CUDA 12 starts on a node without R580."""
    row = replace(ROW, bottlerocket="1.56.0")
    assert (judged(row, image_tag=tag) == []) is accepted


@given(
    part=st.sampled_from(["bottlerocket", "KARPENTER_CHART"]),
    major=st.integers(0, 3),
    minor=st.integers(0, 99),
)
def test_newer_is_never_refused_for_being_old(
    part: str, major: int, minor: int
) -> None:
    """Numbers are compared as numbers: 1.9 is older than 1.12, whatever their text."""
    assert too_old(part, f"{major}.{minor + 1}.0") <= too_old(
        part, f"{major}.{minor}.9"
    )


def too_old(part: str, release: str) -> set[str]:
    """Return for what a release is too old."""
    found = (
        judged(replace(ROW, bottlerocket=release))
        if part == "bottlerocket"
        else judged(ROW, karpenter=release)
    )
    return {
        text.split(", got ")[0]
        for text in found
        if text.startswith(f"'{part}' must be at least")
    }


@pytest.mark.parametrize("minor", ["1.33", "1.34", "1.35"])
def test_version_that_keda_is_tested_on_needs_no_caution(minor: str) -> None:
    """The window of KEDA has its first and its last version in it."""
    assert judged(replace(SUPPORTED[minor], caution="")) == []


def test_tag_that_is_no_text_is_judged_as_an_image_only() -> None:
    """A tag of another kind has the message of the image, and no traceback."""
    dev = load("dev")
    [message] = problems_of(replace(dev, image=replace(dev.image, tag=cast("str", 31))))
    assert message == "image: 'tag' must be an image tag, got 31"


def test_facts_are_about_versions() -> None:
    """Each fact is keyed by a version of Kubernetes or a minor release."""
    minor = re.compile(r"\d+\.\d+")
    for key in (*KARPENTER_SINCE, *KARPENTER_SINCE.values(), *BOTTLEROCKET_NVIDIA):
        assert minor.fullmatch(key), key
    for first, last in KEDA_TESTED.values():
        assert minor.fullmatch(first)
        assert minor.fullmatch(last)


@pytest.mark.parametrize("version", SUPPORTED)
def test_stage_is_refused_with_its_image(version: str) -> None:
    """A stage is judged with the version and the image that it has itself."""
    dev = replace(load("dev"), kubernetes_version=version)
    assert problems_of(dev) == ()
    ancient = replace(dev, image=replace(dev.image, tag="0.8.5-gpu-py312-ec2"))
    prefix = f"kubernetes_version {version!r}: 'vllm_version' must be"
    assert [text.startswith(prefix) for text in problems_of(ancient)].count(True) == 1


def test_row_that_is_raised_alone_stops_a_synthesis(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A row of the table that breaks a rule is refused before anything is defined."""
    dev = load("dev")
    monkeypatch.setitem(TABLE, "1.35", replace(ROW, bottlerocket="1.50.0"))
    found = [text.split(" for ")[0] for text in problems_of(dev)]
    place = "kubernetes_version '1.35': 'bottlerocket' must be at least"
    assert found == [f"{place} 1.53.0", f"{place} 1.57.0"]


def test_policy_of_karpenter_belongs_to_its_release() -> None:
    """The actions that Karpenter has are those that were compared with its release."""
    # when this fails: read the template of the release that KARPENTER_CHART names,
    # change infra/identity.py, and put minor release and digest into versions.py
    minor, digest = KARPENTER_POLICY
    template = synthesis(load("dev")).templates["Platform"]
    [role] = [
        role
        for role in resources(template, "AWS::IAM::Role").values()
        if any(
            policy["PolicyName"] == "NodeLifecycle"
            for policy in role.get("Policies", ())
        )
    ]
    lines = sorted(
        f"{statement['Sid'][0]} {action}"
        for policy in role["Policies"]
        for statement in statements_with_sid(policy["PolicyDocument"])
        for action in statement["Action"]
    )
    assert len(lines) > 20
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == digest
    assert versions.KARPENTER_CHART.startswith(f"{minor}.")


def statements_with_sid(policy: Any) -> list[dict[str, Any]]:
    """Return the statements, each of which must have a name."""
    found = statements(policy)
    assert all("Sid" in statement for statement in found)
    return found


@cache
def everything() -> Settings:
    """Return a stage that installs every chart of the table."""
    dev = load("dev")
    # the rule stands in the way of the two scalers together, which is what is asked for
    blind = GuardrailSwitch(
        rule="eks_inference:blindSignal", severity="off", reason="every chart at once"
    )
    return replace(
        dev,
        signal="otel-scaler",
        models=(replace(dev.models[0], on_request="hold"),),
        guardrails=(blind,),
    )


def raised(
    settings: Settings, row: Versions, charts: Mapping[str, str] | None = None
) -> Templates:
    """Return the templates of a stage with another row and other charts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TABLE, settings.kubernetes_version, row)
        for name, version in (charts or {}).items():
            patch.setattr(platform, name, version)
        # past the cache and past the rules, which would refuse what is invented here
        patch.setattr(composition, "incompatibilities", lambda *_, **__: [])
        return synthesis.__wrapped__(settings).templates


def differences(
    before: Any, after: Any, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Yield where two templates differ, and what stands there."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() | after.keys():
            yield from differences(before.get(key), after.get(key), (*path, key))
    elif isinstance(before, list) and isinstance(after, list):
        assert len(before) == len(after), path
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from differences(old, new, (*path, str(index)))
    elif before != after:
        yield path, before, after


def place(templates: Templates, path: tuple[str, ...]) -> str:
    """Return what a difference is in, by the name that a reader knows."""
    stack, section, logical_id, *_ = path
    properties = templates[stack][section][logical_id]["Properties"]
    for name in ("Release", "AddonName"):
        if name in properties:
            return f"{properties[name]}.{path[4]}"
    if "Manifest" in properties:
        kinds = {item["kind"] for item in manifests(templates[stack])[logical_id]}
        return "model" if "Deployment" in kinds else "pool"
    return f"{templates[stack][section][logical_id]['Type']}.{path[4]}"


def test_each_version_shows_in_its_place_and_nowhere_else() -> None:
    """A raised version changes its chart, add-on, node image or image, and no more."""
    settings = everything()
    charts = {name: f"9.1.{index}" for index, name in enumerate(set(CHARTS.values()))}
    addons = {name: f"v9.2.{index}-eksbuild.9" for index, name in enumerate(ADDONS)}
    row = replace(ROW, bottlerocket="9.3.0", addons=addons)
    tag = "9.4.0-gpu-py312-cu130-ubuntu24.04-ec2"
    changes = {
        **{version: getattr(versions, name) for name, version in charts.items()},
        **{version: ROW.addons[name] for name, version in addons.items()},
        row.bottlerocket: ROW.bottlerocket,
        tag: settings.image.tag,
    }
    before = synthesis(settings).templates
    after = raised(
        replace(settings, image=replace(settings.image, tag=tag)), row, charts
    )
    places: dict[str, set[str]] = {version: set() for version in changes}
    for path, old, new in differences(before, after):
        restored = new
        for version in (version for version in changes if version in new):
            places[version].add(place(after, path))
            restored = restored.replace(version, changes[version])
        assert restored == old, path
    assert places == {
        **{
            version: {
                f"{release}.Version"
                for release, constant in CHARTS.items()
                if constant == name
            }
            for name, version in charts.items()
        },
        **{version: {f"{name}.AddonVersion"} for name, version in addons.items()},
        row.bottlerocket: {"pool"},
        tag: {"model", f"{IMAGE_PULL_TYPE}.Images"},
    }


def test_kubernetes_shows_in_the_cluster_its_nodes_and_its_kubectl() -> None:
    """Another version of Kubernetes moves control plane, nodes, kubectl; no more."""
    dev = load("dev")
    old = replace(ROW, kubernetes="1.29")
    after = raised(dev, old)
    places = {
        place(after, path) for path, *_ in differences(synthesis(dev).templates, after)
    }
    assert places == {
        "AWS::EKS::Cluster.Version",
        # EKS refuses a new version together with any other change of the group
        "AWS::EKS::Nodegroup.Version",
        "AWS::Lambda::LayerVersion.Content",
        "AWS::Lambda::LayerVersion.Description",
    }


@pytest.mark.parametrize("version", SUPPORTED)
def test_kubectl_is_that_of_the_row(version: str) -> None:
    """Each row names the kubectl of its own version."""
    assert SUPPORTED[version].kubectl_layer == f"v{version.split('.')[1]}"


def test_images_of_nodes_are_pinned(templates: Templates) -> None:
    """Every node class names one release of Bottlerocket, and none the latest."""
    for name, node_class in of_kind(templates, "EC2NodeClass").items():
        [term] = node_class["spec"]["amiSelectorTerms"]
        assert re.fullmatch(r"bottlerocket@v\d+\.\d+\.\d+", term["alias"]), name


def test_charts_are_pinned() -> None:
    """Every Helm release has one version, which is that of its constant."""
    template = synthesis(everything()).templates["Platform"]
    found = {
        item["Release"]: item["Version"]
        for item in resources(template, RELEASE_TYPE).values()
    }
    assert found == {
        release: getattr(versions, name) for release, name in CHARTS.items()
    }
    for release, version in found.items():
        assert re.fullmatch(r"v?\d+\.\d+\.\d+", version), release


def test_page_of_upgrades_names_the_table() -> None:
    """The page has each pinned version, each row, and no other release of a part."""
    text = (ROOT / "docs" / "upgrade.md").read_text()
    table = text.split("## What is pinned")[1].split("\n## ")[0]
    rows = {
        tuple(cell.strip() for cell in line.strip("|").split("|"))[:2]
        for line in table.splitlines()
        if line.startswith("| ") and not line.startswith("| part")
    }
    addons = {(f"add-on {name}", f"`{build}`") for name, build in ROW.addons.items()}
    assert rows == addons | {
        ("Kubernetes", f"`{ROW.kubernetes}`"),
        ("Bottlerocket", f"`{ROW.bottlerocket}`"),
        ("Karpenter and its CRDs", f"`{versions.KARPENTER_CHART}`"),
        ("KEDA", f"`{versions.KEDA_CHART}`"),
        ("KEDA's HTTP add-on", f"`{versions.KEDA_HTTP_CHART}`"),
        ("OpenTelemetry scaler", f"`{versions.OTEL_SCALER_CHART}`"),
        ("Prometheus stack", f"`{versions.PROMETHEUS_CHART}`"),
        ("DCGM exporter", f"`{versions.DCGM_EXPORTER_CHART}`"),
        ("vLLM image", f"`{load('dev').image.tag}`"),
    }


def test_page_of_upgrades_names_the_facts() -> None:
    """The page has the numbers by which a row is judged, and no others."""
    text = (ROOT / "docs" / "upgrade.md").read_text()
    table = text.split("## What must go together")[1].split("\n## ")[0]
    named = set(re.findall(r"`(\d+(?:\.\d+)+)`", table))
    facts = {
        *KARPENTER_SINCE,
        *KARPENTER_SINCE.values(),
        versions.KARPENTER_DURATIONS,
        *KEDA_TESTED,
        *(bound for window in KEDA_TESTED.values() for bound in window),
        versions.KUBERNETES_FLOOR,
        *(bound for window in BOTTLEROCKET_NVIDIA.values() for bound in window),
        versions.BOTTLEROCKET_SOCI,
        versions.BOTTLEROCKET_R580,
        KARPENTER_POLICY[0],
    } - {""}
    assert named == facts
