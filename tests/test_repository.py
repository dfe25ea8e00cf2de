"""What holds the repository together: layout, layers, pins, budgets, promises."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYOUT = (
    "app.py",
    "cdk.json",
    "requirements.txt",
    "requirements-dev.txt",
    "pyproject.toml",
    "Makefile",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    ".ci/run",
    *(
        f"infra/{name}.py"
        for name in (
            "settings",
            "stages",
            "validation",
            "network",
            "registry",
            "storage",
            "identity",
            "cluster",
            "platform",
            "serving",
            "guardrails",
            "composition",
            "stack",
            "stacks",
            "summary",
            "versions",
        )
    ),
    *(
        f"k8s/{name}.py"
        for name in (
            "chart",
            "karpenter",
            "keda",
            "monitoring",
            "network_policy",
            "platform",
            "render",
            "vllm",
        )
    ),
    "constructs/pyproject.toml",
    "constructs/README.md",
    "constructs/CHANGELOG.md",
    "constructs/LICENSE",
    *(
        f"constructs/examples/{name}"
        for name in (
            "existing_vpc/app.py",
            "gitops/render.py",
            "minimal/app.py",
            "own_cluster/app.py",
            "shared_pool/app.py",
        )
    ),
    *(
        f"constructs/src/eks_inference/{name}"
        for name in (
            "__init__.py",
            "gpu_inference_pool.py",
            "queue_scaled_model.py",
            "accelerator.py",
            "capacity.py",
            "model.py",
            "scaling.py",
            "planning/__init__.py",
            "manifests/__init__.py",
            "testing.py",
            "py.typed",
            "compile_cache.py",
            "guardrails.py",
            "image_cache.py",
            "inference_endpoints.py",
            "model_store.py",
            "node_identity.py",
            "platform_requirements.py",
            "pod_identity_role.py",
            "rules/__init__.py",
            "_check.py",
            "_cluster.py",
            "_patches.py",
        )
    ),
    "tests/library",
    "tests/app",
    "tests/schemas",
    "tests/packaging",
    "benchmarks/synth.py",
    *(
        f"docs/{name}.md"
        for name in ("benchmarks", "decisions", "guardrails", "guide", "verification")
    ),
)

OWN_CODE = ("infra", "k8s", "constructs/src")

MOST_LINES = 450
MOST_LINES_OF_TESTS = 750
MOST_LINES_OF_FUNCTION = 60
"""Without arguments and docstring: those of a construct are its reference."""

LONG_FUNCTIONS = {
    "infra/identity.py:karpenter_statements": (
        "one policy, statement by statement as upstream documents it"
    ),
    "constructs/src/eks_inference/queue_scaled_model.py:__init__": (
        "one check of all arguments before anything is defined, then one resource each"
    ),
    "constructs/src/eks_inference/compile_cache.py:__init__": (
        "one file system with what belongs to it, argument by argument"
    ),
}
"""Functions above the budget: why they are easier to read in one piece."""


@cache
def files() -> tuple[Path, ...]:
    """Return the files that git has, or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    return tuple(path for path in paths if path.is_file())


def own_python() -> list[Path]:
    """Return the Python files of the app and the library."""
    return [path for folder in OWN_CODE for path in (ROOT / folder).rglob("*.py")]


def run_python(code: str, folder: Path) -> str:
    """Run code with a folder first on the path, and return what it prints."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


# --- layout -------------------------------------------------------------------------


@pytest.mark.parametrize("path", LAYOUT)
def test_layout(path: str) -> None:
    """Every part of the repository stands where the design puts it."""
    assert (ROOT / path).exists()


def test_constructs_is_no_package() -> None:
    """The folder of the distribution cannot shadow the package 'constructs' of PyPI."""
    assert not (ROOT / "constructs/__init__.py").exists()
    assert not list((ROOT / "constructs").glob("test*"))
    code = "import constructs; print(constructs.__file__); constructs.Construct"
    assert "site-packages" in run_python(code, ROOT)


def test_versions_agree() -> None:
    """The library has the version of the newest entry of its change log."""
    project = tomllib.loads((ROOT / "constructs/pyproject.toml").read_text())
    changes = (ROOT / "constructs/CHANGELOG.md").read_text()
    newest = re.search(
        r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$", changes, re.MULTILINE
    )
    assert newest is not None
    assert project["project"]["version"] == newest[1]


# --- layers -------------------------------------------------------------------------


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of a repository between its own packages."""
    paths = (folder, folder / "constructs/src")
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the code, for tests that break it."""
    folder = tmp_path_factory.mktemp("repository")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name in OWN_CODE:
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    return folder


def test_layers_hold() -> None:
    """Stacks use charts, charts use the library, and its planning is plain Python."""
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", result.stdout)


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("k8s/chart.py", "import aws_cdk"),
        ("k8s/chart.py", "import infra.settings"),
        ("constructs/src/eks_inference/planning/pool.py", "import cdk8s"),
        ("constructs/src/eks_inference/manifests/serving.py", "import k8s.chart"),
        ("constructs/src/eks_inference/rules/pool_rules.py", "import aws_cdk"),
        ("constructs/src/eks_inference/manifests/gpu_pool.py", "import constructs"),
        (
            "constructs/src/eks_inference/gpu_inference_pool.py",
            "import eks_inference.queue_scaled_model",
        ),
        (
            "constructs/src/eks_inference/planning/pool.py",
            "import eks_inference._cluster",
        ),
    ],
)
def test_layers_would_break(copy: Path, file: str, line: str) -> None:
    """An import against the direction of the layers breaks a contract."""
    target = copy / file
    before = target.read_text()
    target.write_text(f"{before}\n{line}\n")
    try:
        result = lint_imports(copy)
    finally:
        target.write_text(before)
    assert result.returncode == 1
    assert re.search(r"Contracts: \d+ kept, [1-9]\d* broken", result.stdout)


# --- pins and promises --------------------------------------------------------------


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_are_pinned(name: str) -> None:
    """Every requirement is one exact version, our own folder, or the other file."""
    lines = [
        line
        for line in (ROOT / name).read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert lines
    pin = re.compile(r"[A-Za-z0-9._-]+(\[\w+\])?==(\d+!)?\d[\w.]*")
    own = {"-e ./constructs", "-r requirements.txt"}
    assert [line for line in lines if line not in own and not pin.fullmatch(line)] == []


def test_ci_runs_what_everyone_runs() -> None:
    """CI does nothing but 'make test' in the root of the repository."""
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    lines = script.read_text().splitlines()
    commands = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in commands if line.startswith("make")] == ["make test"]
    assert commands[-1] == "make test"
    prepare = re.compile(r"set -euo pipefail|cd .*|if \[ .* \]; then export .*; fi")
    assert all(prepare.fullmatch(line) for line in commands[:-1])


def targets() -> set[str]:
    """Return the targets of the Makefile."""
    return set(
        re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    )


def mentioned() -> Iterator[tuple[Path, str]]:
    """Yield every target that a text tells a reader to make."""
    for path in files():
        if path.suffix == ".md":
            code = re.findall(r"```.*?```|`[^`\n]+`", path.read_text(), re.DOTALL)
            for target in re.findall(r"\bmake ([a-z0-9-]+)\b", "\n".join(code)):
                yield path, target


def test_documented_targets_exist() -> None:
    """Every 'make ...' in README and docs is a target of the Makefile."""
    named = list(mentioned())
    assert ROOT / "README.md" in {path for path, _ in named}
    assert [(path.name, name) for path, name in named if name not in targets()] == []


def test_documented_places_are_whole() -> None:
    """A command that hands the app a region hands it an account, too: it needs both."""
    placed = [
        command
        for path in files()
        if path.suffix == ".md"
        for command in re.findall(
            r"\bmake [a-z][\w= -]*REGION=[\w= -]+", path.read_text()
        )
    ]
    assert placed
    for command in placed:
        shown = subprocess.run(
            [*command.split(), "--dry-run"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert ("-c region=" in shown) == ("-c account=" in shown), command


def test_targets_are_explained_and_phony() -> None:
    """Every target has a line in 'make help', and none is mistaken for a file."""
    text = (ROOT / "Makefile").read_text()
    explained = set(re.findall(r"^([a-z0-9-]+):.*## \S", text, re.MULTILINE))
    phony = set(str(re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)[0]).split())
    assert explained == phony == targets()


def test_pages_link_to_files_that_exist() -> None:
    """Every relative link of a page leads to a file of the repository."""
    broken = [
        (path.name, link)
        for path in files()
        if path.suffix == ".md"
        for link in re.findall(r"\]\(([^)#\s]+)", path.read_text())
        if "://" not in link and not (path.parent / link).exists()
    ]
    assert broken == []


# parts, so that this file does not find itself
MACHINE = re.compile(
    "|".join(
        (
            "/wor" + "k/",
            "/tmp/" + "(bash|v/)",
            "/roo" + "t/",
            "index" + "-url",
            "arti" + "factory",
            "trusted" + "-host",
            "proxy" + r"\.internal",
        )
    )
)


def test_no_file_names_a_machine() -> None:
    """No file holds a path or a registry of the machine that it was written on."""
    found = []
    for path in files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [(str(path.relative_to(ROOT)), hit) for hit in MACHINE.findall(text)]
        assert not MACHINE.search(str(path.relative_to(ROOT)))
    assert found == []


@pytest.mark.parametrize(
    "text", ["/wor" + "k/main", "--index" + "-url https://x", "/roo" + "t/.cache"]
)
def test_machines_would_be_recognized(text: str) -> None:
    """The pattern matches what it is for."""
    assert MACHINE.search(text)


# --- budgets ------------------------------------------------------------------------


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the functions of a file with the lines of what they do."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            done = node.body[1:] if ast.get_docstring(node) else node.body
            lines = (done[-1].end_lineno or 0) - done[0].lineno + 1 if done else 0
            yield f"{path.relative_to(ROOT)}:{node.name}", lines


def test_files_are_short() -> None:
    """No file of the app or the library is longer than one can keep in mind."""
    lengths = {path: len(path.read_text().splitlines()) for path in own_python()}
    assert len(lengths) > 20
    assert [path for path, lines in lengths.items() if lines > MOST_LINES] == []


def test_files_of_tests_are_short() -> None:
    """Tests are in files by topic, each of which one can read at once."""
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in files()
        if path.suffix == ".py" and path.is_relative_to(ROOT / "tests")
    }
    assert len(lengths) > 40
    long = [name for name, lines in lengths.items() if lines > MOST_LINES_OF_TESTS]
    assert long == []


def test_examples_are_runnable_alone() -> None:
    """Each example is one short file, and uses nothing of the app."""
    found = sorted((ROOT / "constructs/examples").rglob("*.py"))
    assert len(found) == len(list((ROOT / "constructs/examples").iterdir()))
    for path in found:
        code = path.read_text()
        assert len(code.splitlines()) <= 80, path
        assert not re.search(r"^(from|import) (infra|k8s)\b", code, re.MULTILINE), path


def test_functions_are_short() -> None:
    """A function above the budget is in the list with its reason, and no other."""
    long = {
        name
        for path in own_python()
        for name, lines in functions(path)
        if lines > MOST_LINES_OF_FUNCTION
    }
    assert long == set(LONG_FUNCTIONS)


def test_entry_point_is_short() -> None:
    """The entry point says what happens and nothing else."""
    assert len((ROOT / "app.py").read_text().splitlines()) <= 40


def test_every_test_has_its_sentence() -> None:
    """Every test states the behaviour that it is for in one sentence on one line."""
    silent = []
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                said = ast.get_docstring(node) or ""
                if not re.fullmatch(r"\S.+[.]", said):
                    silent.append(f"{path.name}:{node.name}")
    assert silent == []
