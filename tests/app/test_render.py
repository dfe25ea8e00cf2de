"""The objects of a synthesis as YAML files."""

import sys
from pathlib import Path

import pytest
import yaml

from eks_inference.testing import manifests
from infra.stacks import define_stacks
from infra.stages import load
from k8s import render
from tests.app.conftest import new_app, stage_templates


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a synthesis has written."""
    folder = tmp_path_factory.mktemp("assembly")
    app = new_app(folder)
    define_stacks(app, load("dev"))
    app.synth()
    return folder


def test_files_hold_the_objects(assembly: Path, tmp_path: Path) -> None:
    """Each file is YAML that reads as the objects that its resource applies."""
    expected = {
        f"{stack}-{logical_id}.yaml": group
        for stack, template in stage_templates("dev").items()
        for logical_id, group in manifests(template).items()
    }
    written = render.render(assembly, tmp_path / "new" / "folder")
    found = {
        file.name: list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
        for file in written
    }
    assert len(found) == 6
    assert found == expected


def test_texts_stay_texts(assembly: Path, tmp_path: Path) -> None:
    """What looks like a number or a truth value, and is a text, stays one."""
    [file] = [
        file
        for file in render.render(assembly, tmp_path)
        if file.name.startswith("Serving-Models")
    ]
    [scaler] = [
        item
        for item in yaml.safe_load_all(file.read_text(encoding="utf-8"))
        if item["kind"] == "ScaledObject"
    ]
    trigger = scaler["spec"]["triggers"][0]["metadata"]
    assert trigger["threshold"] == "24"
    assert trigger["ignoreNullValues"] == "false"


def test_second_time_gives_the_same(assembly: Path, tmp_path: Path) -> None:
    """Rendering again changes no file, so that a repository sees no difference."""
    first = [file.read_bytes() for file in render.render(assembly, tmp_path)]
    second = [file.read_bytes() for file in render.render(assembly, tmp_path)]
    assert first == second


def test_files_that_are_stale_are_removed(assembly: Path, tmp_path: Path) -> None:
    """A file of an object that is gone is removed, and no file of others."""
    stale = tmp_path / "Serving-Modelsgone0123ABCD.yaml"
    others = [tmp_path / name for name in ("README.md", "kustomization.yaml")]
    for file in (stale, *others):
        file.touch()
    written = render.render(assembly, tmp_path)
    assert set(tmp_path.iterdir()) == {*written, *others}


def test_command_names_the_files(
    assembly: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command says which files it has written."""
    monkeypatch.setattr(sys, "argv", ["render", str(assembly), str(tmp_path)])
    render.main()
    named = {Path(line) for line in capsys.readouterr().out.splitlines()}
    assert named == set(tmp_path.glob("*.yaml"))
    assert named


def test_folder_without_a_synthesis_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A folder that no synthesis has written is an error that names the way out."""
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setattr(sys, "argv", ["render", str(empty), str(tmp_path / "out")])
    with pytest.raises(SystemExit) as exit_:
        render.main()
    message = capsys.readouterr().err
    assert exit_.value.code == 2
    assert f"'assembly' must be a synthesized app, got '{empty}'" in message
    assert "make synth" in message
    assert not (tmp_path / "out").exists()
