"""A synthesis is a function of the settings: no clock, no network, no machine."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import aws_cdk as cdk
import pytest
from jsii._kernel.providers.process import _NodeProcess

from infra.settings import Settings
from infra.stacks import define_stacks
from infra.stages import load

ROOT = Path(__file__).parents[2]
CONTEXT = json.loads((ROOT / "cdk.json").read_text())["context"]

# records what Python code does, from the first line of the interpreter on
PYTHON_WATCH = """
import os, sys
_log = os.open(os.environ["WATCH_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
_writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT
def _note(kind, what):
    os.write(_log, f"{kind} {what}\\n".encode())
def _hook(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        if arguments[2] and arguments[2] & _writes:
            _note("write", os.path.abspath(arguments[0]))
    elif event in ("os.mkdir", "os.rename", "os.link", "os.symlink"):
        _note("write", os.path.abspath(arguments[0]))
    elif event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        _note("network", event)
    elif event in ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen"):
        _note("program", os.path.basename(os.path.realpath(str(arguments[0]))))
sys.addaudithook(_hook)
"""

# the same for the Node.js process behind jsii
NODE_WATCH = """
const { appendFileSync } = require('fs');
const note = (what) => appendFileSync(process.env.WATCH_LOG, `network ${what}\\n`);
const net = require('net');
const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...options) {
  note('net.connect');
  return connect.apply(this, options);
};
const dns = require('dns');
for (const name of ['lookup', 'resolve']) {
  const original = dns[name];
  dns[name] = (...options) => { note(`dns.${name}`); return original(...options); };
}
"""


@dataclass(frozen=True, slots=True)
class Run:
    """A synthesis in a process of its own, with what it could leave behind.

    Args:
        output: Folder of the assembly.
        project: Copy of the app.
        home: Home of the user.
        temp: Folder of temporary files.
        log: What was noted: writes, network, programs.
        before: Files of the project before the synthesis.
    """

    output: Path
    project: Path
    home: Path
    temp: Path
    log: Path
    before: frozenset[str]

    def noted(self, kind: str) -> list[str]:
        """Return what was noted of one kind."""
        lines = self.log.read_text().splitlines()
        return [line.split(" ", 1)[1] for line in lines if line.startswith(kind)]


def files_below(folder: Path) -> frozenset[str]:
    """Return the relative paths of all files of a folder."""
    return frozenset(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    )


@cache
def without_network() -> tuple[str, ...]:
    """Return what starts a program without any network, where the system has it."""
    command = ("unshare", "--map-root-user", "--net")
    if shutil.which(command[0]) is None:
        return ()
    tried = subprocess.run([*command, "true"], capture_output=True, check=False)
    return command if tried.returncode == 0 else ()


def watched(folder: Path) -> dict[str, str]:
    """Return the environment of a program that is watched, and nothing else in it."""
    watch = folder / "watch"
    watch.mkdir(parents=True)
    (watch / "sitecustomize.py").write_text(PYTHON_WATCH)
    (watch / "watch.cjs").write_text(NODE_WATCH)
    (watch / "log").touch()
    for name in ("home", "temp"):
        (folder / name).mkdir()
    # unpacking CDK for each home would take longer than all tests
    cache_root = Path.home() / ".cache/aws/jsii/package-cache"
    kept = ("PATH", "JSII_NODE", "JSII_RUNTIME_PACKAGE_CACHE_ROOT")
    return {
        "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(cache_root),
        **{name: os.environ[name] for name in kept if name in os.environ},
        "CDK_VALIDATION": "false",
        "NODE_OPTIONS": f"--require {watch / 'watch.cjs'}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(watch),
        "WATCH_LOG": str(watch / "log"),
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "temp"),
    }


def run_app(folder: Path, environment: Mapping[str, str], *, elsewhere: bool) -> Run:
    """Synthesize the default stage in a copy of the app, from its folder or not."""
    project = folder / "project"
    project.mkdir(parents=True)
    shutil.copy(ROOT / "app.py", project)
    for package in ("infra", "k8s"):
        shutil.copytree(
            ROOT / package,
            project / package,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    before = files_below(project)
    output = folder / "out"
    command = [sys.executable, "app.py"]
    if elsewhere:
        command = [*without_network(), sys.executable, str(project / "app.py")]
    result = subprocess.run(
        command,
        cwd=folder if elsewhere else project,
        env={
            **watched(folder),
            "CDK_CONTEXT_JSON": json.dumps(CONTEXT),
            "CDK_OUTDIR": str(output),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return Run(
        output,
        project,
        folder / "home",
        folder / "temp",
        folder / "watch/log",
        before,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """Two syntheses that have nothing in common but the settings."""
    plain = run_app(
        tmp_path_factory.mktemp("plain"),
        {"TZ": "UTC", "LANG": "C", "PYTHONHASHSEED": "0"},
        elsewhere=False,
    )
    other = run_app(
        tmp_path_factory.mktemp("other"),
        {
            "TZ": "Asia/Tokyo",
            "LANG": "tr_TR.UTF-8",
            "PYTHONHASHSEED": "4242",
            "AWS_PROFILE": "nobody",
            "AWS_REGION": "eu-west-1",
            "CDK_DEFAULT_ACCOUNT": "444455556666",
            "CDK_DEFAULT_REGION": "eu-west-1",
            "STAGE": "prod",
        },
        elsewhere=True,
    )
    return plain, other


def content(run: Run, name: str) -> bytes:
    """Return a file of the output without CDK's stack traces in metadata files.

    They name the temporary folder that jsii was unpacked into.
    """
    data = (run.output / name).read_bytes()
    if name.endswith(".metadata.json"):
        data = re.sub(rb'"[^"]*%b[^"]*"' % re.escape(str(run.temp)).encode(), b"", data)
    return data


def test_same_settings_give_the_same_bytes(runs: tuple[Run, Run]) -> None:
    """Home, zone, language, hash seed, folder and credentials change no byte."""
    plain, other = runs
    names = files_below(plain.output)
    assert files_below(other.output) == names
    assert {"manifest.json", "Serving.template.json", "tree.json"} <= names
    assert [
        name for name in names if content(plain, name) != content(other, name)
    ] == []


def test_templates_name_no_path_of_the_machine(runs: tuple[Run, Run]) -> None:
    """No template holds the folder of the app, the home or the output."""
    for run in runs:
        for template in run.output.glob("*.template.json"):
            assert str(run.project.parent) not in template.read_text()


def test_synthesis_needs_no_network(runs: tuple[Run, Run]) -> None:
    """Neither Python nor Node.js connects to anything, or misses what is not there."""
    for run in runs:
        assert run.noted("network") == []


def test_synthesis_writes_only_its_output(runs: tuple[Run, Run]) -> None:
    """Python writes to the output and temporary folders only, and changes no source."""
    for run in runs:
        assert files_below(run.project) == run.before
        allowed = (str(run.output), str(run.temp), "/dev/")
        assert [
            path for path in run.noted("write") if not path.startswith(allowed)
        ] == []


def test_synthesis_leaves_nothing_behind(runs: tuple[Run, Run]) -> None:
    """The home gets CDK's cache of asset hashes and nothing else; temp stays empty."""
    for run in runs:
        left = {str(Path(name).parent) for name in files_below(run.home)}
        assert left <= {".cdk/cache/fingerprints"}
        assert files_below(run.temp) == frozenset()


def test_synthesis_starts_jsii_only(runs: tuple[Run, Run]) -> None:
    """The only other program is the Node.js process of jsii."""
    for run in runs:
        assert set(run.noted("program")) == {"node"}


def test_watch_sees_everything(tmp_path: Path) -> None:
    """The watch is awake: it notes a write, a connection and a program, Node's too."""
    environment = watched(tmp_path)
    node = environment.get("JSII_NODE", "node")
    code = (
        "import contextlib, pathlib, socket, subprocess\n"
        f"pathlib.Path({str(tmp_path / 'left')!r}).write_text('x')\n"
        "with contextlib.suppress(OSError):\n"
        "    socket.create_connection(('127.0.0.1', 9), timeout=1)\n"
        "script = \"require('net').connect(9, '127.0.0.1').on('error', () => 0)\"\n"
        f"subprocess.run([{node!r}, '-e', script])\n"
    )
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    lines = (tmp_path / "watch/log").read_text().splitlines()
    assert f"write {tmp_path / 'left'}" in lines
    assert {"network socket.connect", "network net.connect", "program node"} <= {*lines}


# --- our own code -------------------------------------------------------------------

OURS = ("infra", "k8s", "constructs/src/eks_inference")

BANNED = {
    "import os\nprint(os.environ)": "os.environ",
    "import os\nprint(os.getenv('A'))": "os.getenv",
    "import time": "time",
    "from datetime import datetime": "datetime",
    "import random": "random",
    "import uuid": "uuid",
    "import socket": "socket",
    "import urllib.request": "urllib",
    "import subprocess": "subprocess",
}

ALLOWED_IMPORTS = {
    "argparse",
    "abc",
    "ast",
    "bisect",
    "calendar",
    "collections",
    "contextlib",
    "csv",
    "dataclasses",
    "difflib",
    "enum",
    "fnmatch",
    "functools",
    "hashlib",
    "importlib",
    "ipaddress",
    "itertools",
    "json",
    "math",
    "pathlib",
    "re",
    "statistics",
    "sys",
    "types",
    "typing",
    "warnings",
    "weakref",
}
"""Parts of the standard library that know neither time nor place."""


@pytest.mark.parametrize("folder", OURS)
@pytest.mark.parametrize("code", BANNED)
def test_linter_bans_the_world(folder: str, code: str) -> None:
    """The linter refuses clock, chance, network, environment and programs."""
    result = subprocess.run(
        [
            *(sys.executable, "-m", "ruff", "check", "--no-cache"),
            *("--output-format", "json", "--stdin-filename", f"{folder}/probe.py", "-"),
        ],
        cwd=ROOT,
        input=code + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    found = [
        item["message"]
        for item in json.loads(result.stdout)
        if item["code"] == "TID251"
    ]
    assert [message.split(" ")[0] for message in found] == [f"`{BANNED[code]}`"]


NO_SYNTHESIS = {
    "dashboards": {"string", "sys"},
    "simulation": {"heapq", "random"},
    "cli": {"os", "signal"},
    # what runs elsewhere: a Lambda function, a job in the cluster, a look at an account
    "handlers": {"hashlib", "http", "logging", "time", "urllib"},
    "importing": {
        "argparse",
        "base64",
        "concurrent",
        "hashlib",
        "http",
        "logging",
        "os",
        "signal",
        "socket",
        "struct",
        "threading",
        "time",
        "urllib",
    },
    "account": {"datetime", "os", "time"},
}
"""What parts may know that no synthesis imports: the simulator a queue of events and a
seed, the command line a process, and what runs elsewhere the world."""


ELSEWHERE = {"handlers", "importing", "account"}
"""Folders of what never runs in a synthesis, and may ask the world."""


def imports(file: Path) -> set[str]:
    """Return the parts of the standard library that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(str(node.module))
    tops = {name.split(".")[0] for name in names}
    return tops & set(sys.stdlib_module_names)


def test_own_code_imports_nothing_of_the_world() -> None:
    """What the app and the library import knows neither time nor place."""
    files = [path for folder in OURS for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 20
    for file in files:
        allowed = ALLOWED_IMPORTS | NO_SYNTHESIS.get(file.parent.name, set())
        assert imports(file) - allowed == set(), file
        if file.parent.name not in ELSEWHERE:
            assert "TID251" not in file.read_text(), file


# --- what a synthesis costs ---------------------------------------------------------

MOST_CALLS = 700
"""Calls to jsii of the default stage: 650 when this was written. A call costs about a
millisecond, and a setter for each field instead of one whole object would triple it."""

MOST_CALLS_PER_MODEL = 20
"""Calls of one more model: 14 when this was written; it is one role, one association
and one manifest."""


def calls(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many requests a synthesis sends to jsii."""
    sent = 0
    send = _NodeProcess.send

    def count(self: _NodeProcess, *arguments: object) -> object:
        nonlocal sent
        sent += 1
        return send(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(_NodeProcess, "send", count)
        app = cdk.App(context=CONTEXT, analytics_reporting=False)
        define_stacks(app, settings)
        app.synth()
    return sent


def with_models(count: int) -> Settings:
    """Return the default stage with some models."""
    stage = load()
    model = replace(stage.models[0], max_replicas=1)
    return replace(
        stage,
        pools=(replace(stage.pools[0], max_gpus=count),),
        models=tuple(replace(model, name=f"model-{index}") for index in range(count)),
    )


def test_default_stage_is_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default stage is synthesized within its budget of calls."""
    assert 0 < calls(load(), monkeypatch) <= MOST_CALLS


def test_every_further_model_costs_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost of a model is small, and does not grow with their number."""
    costs = [calls(with_models(count), monkeypatch) for count in (1, 2, 3, 10)]
    second, third = costs[1] - costs[0], costs[2] - costs[1]
    assert second == third
    assert costs[3] - costs[2] == 7 * third
    assert third <= MOST_CALLS_PER_MODEL
