"""What a synthesis says about itself."""

import sys
from pathlib import Path

import pytest

from infra import summary
from infra.stacks import define_stacks
from infra.versions import KARPENTER_CHART, KEDA_CHART, PROMETHEUS_CHART
from tests.app.conftest import new_app, other_choices, synthesize


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a synthesis with several pools and models has written."""
    folder = tmp_path_factory.mktemp("assembly")
    app = new_app(folder)
    define_stacks(app, other_choices())
    app.synth()
    return folder


@pytest.fixture(scope="module")
def lines(assembly: Path) -> list[list[str]]:
    """The words of each line."""
    return [line.split() for line in summary.summary(assembly)]


def test_stacks_are_counted(lines: list[list[str]]) -> None:
    """Each stack is named with the number of its resources."""
    for stack, template in synthesize(other_choices()).items():
        [line] = [line for line in lines if line[0] == stack]
        assert line[1:3] == [str(len(template["Resources"])), "resources"]


def test_stacks_are_in_the_order_of_deployment(lines: list[list[str]]) -> None:
    """A stack stands after those that it needs."""
    stacks = [line[0] for line in lines if "resources" in line]
    assert sorted(stacks[:2]) == ["Network", "Registry"]
    assert stacks[2:] == ["Cluster", "Platform", "Storage", "Serving"]


def test_releases_have_their_versions(lines: list[list[str]]) -> None:
    """Each Helm release is named with its version."""
    assert ["karpenter-crd", KARPENTER_CHART] in lines
    assert ["karpenter", KARPENTER_CHART] in lines
    assert ["keda", KEDA_CHART] in lines
    assert ["kube-prometheus-stack", PROMETHEUS_CHART] in lines


def test_models_have_their_addresses(lines: list[list[str]]) -> None:
    """Each model is named with its pool and its address, which can wake it."""
    for model, host, pool in (
        ("mistral-7b", "mistral-7b.inference.svc:8000", "gpu-24"),
        ("office-hours", "office-hours-http.inference.svc:8080", "gpu-16"),
        ("large", "large.inference.svc:8000", "gpu-48"),
    ):
        address = f"http://{host}/v1"
        assert [model, address, "on", "pool", pool] in lines


def test_objects_are_counted(lines: list[list[str]]) -> None:
    """Kubernetes objects are counted by their kind."""
    for kind, count in (("ScaledObject", "3"), ("NodePool", "4"), ("Namespace", "4")):
        assert [kind, count] in lines


def test_command_prints_the_summary(
    assembly: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command prints what the function returns."""
    monkeypatch.setattr(sys, "argv", ["summary", str(assembly)])
    summary.main()
    assert capsys.readouterr().out.splitlines() == summary.summary(assembly)


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_folder_without_a_synthesis_is_refused(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A folder that no synthesis has written is an error that names the way out."""
    (tmp_path / "empty").mkdir()
    folder = tmp_path / name
    monkeypatch.setattr(sys, "argv", ["summary", str(folder)])
    with pytest.raises(SystemExit) as exit_:
        summary.main()
    captured = capsys.readouterr()
    assert exit_.value.code == 2
    assert f"'assembly' must be a synthesized app, got '{folder}'" in captured.err
    assert "make synth" in captured.err
    assert captured.out == ""
