"""Tests of what the library shows, and of what its import starts."""

import ast
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import eks_inference
import eks_inference.planning
import eks_inference.simulation

FOLDER = Path(str(eks_inference.__file__)).parent
STARTS_CDK = {
    "eks_inference._cluster",
    "eks_inference._handler_function",
    "eks_inference._headroom",
    "eks_inference._model_arguments",
    "eks_inference._network",
    "eks_inference._patches",
    "eks_inference.cluster_alarms",
    "eks_inference.compile_cache",
    "eks_inference.gpu_inference_pool",
    "eks_inference.guardrails",
    "eks_inference.image_cache",
    "eks_inference.image_pull",
    "eks_inference.inference_endpoints",
    "eks_inference.model_endpoint",
    "eks_inference.model_import",
    "eks_inference.model_store",
    "eks_inference.node_drain",
    "eks_inference.platform_requirements",
    "eks_inference.pod_identity_role",
    "eks_inference.queue_scaled_model",
}
"""The modules of the constructs and patches; every other one is plain Python."""

PLAIN = sorted(
    {
        "eks_inference",
        *(
            info.name
            for info in pkgutil.walk_packages([str(FOLDER)], "eks_inference.")
            if info.name not in STARTS_CDK
        ),
    }
)

IMPORT_EACH = """
import importlib, json, sys
heavy = {"jsii", "aws_cdk", "cdk8s", "cdk8s_plus_28", "constructs"}
found = {}
for name in sys.argv[1:]:
    importlib.import_module(name)
    found[name] = sorted(heavy & sys.modules.keys())
print(json.dumps(found))
"""


INIT = FOLDER / "__init__.py"
PLANNERS = [
    name
    for name in PLAIN
    if name.startswith(("eks_inference.planning.", "eks_inference.simulation."))
]


def declared(init: Path = INIT) -> dict[str, list[str]]:
    """Return the names that type checkers see, by the module that they come from."""
    for statement in ast.parse(init.read_text()).body:
        if isinstance(statement, ast.If):
            assert ast.unparse(statement.test) == "TYPE_CHECKING"
            return {
                str(item.module).rpartition(".")[2]: sorted(
                    name.name for name in item.names
                )
                for item in statement.body
                if isinstance(item, ast.ImportFrom)
            }
    raise AssertionError("there is no import for type checkers")


def attached(init: Path = INIT) -> dict[str, list[str]]:
    """Return the names that load on first use, by the module that they come from."""
    for item in ast.walk(ast.parse(init.read_text())):
        if isinstance(item, ast.keyword) and item.arg == "submod_attrs":
            found: dict[str, list[str]] = ast.literal_eval(item.value)
            return {module: sorted(names) for module, names in found.items()}
    raise AssertionError("nothing is attached")


def test_public_names_are_those_that_load() -> None:
    """Declared, lazily attached and exported names are the same."""
    assert declared() == attached()
    names = sorted(name for names in attached().values() for name in names)
    assert eks_inference.__all__ == names
    assert sorted(dir(eks_inference)) == names


@pytest.mark.parametrize("name", eks_inference.__all__)
def test_every_public_name_loads(name: str) -> None:
    """Each public name is a class with a docstring, from the declared module."""
    found = getattr(eks_inference, name)
    assert inspect.isclass(found)
    assert inspect.getdoc(found)
    [module] = [module for module, names in attached().items() if name in names]
    assert found.__module__ == f"eks_inference.{module}"


@pytest.mark.parametrize("package", [eks_inference.planning, eks_inference.simulation])
def test_names_of_packages_are_those_that_load(package: ModuleType) -> None:
    """Declared, lazily attached and exported names of a package are the same."""
    init = Path(str(package.__file__))
    assert declared(init) == attached(init)
    names = {name for names in attached(init).values() for name in names}
    assert names == set(package.__all__)
    for name in names:
        assert not inspect.ismodule(getattr(package, name)), name


@pytest.mark.parametrize("first", PLANNERS)
def test_no_module_hides_a_name(first: str) -> None:
    """Whatever is imported first, a name of its package is what it is called for."""
    package = first.rpartition(".")[0]
    code = (
        f"import importlib, types\nimport {first}\nimport {package} as p\n"
        "bad = [n for n in p.__all__ if isinstance(getattr(p, n), types.ModuleType)]\n"
        "raise SystemExit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_fails_when_a_name_is_unknown() -> None:
    """A name that does not exist is an AttributeError and nothing else."""
    with pytest.raises(AttributeError, match="QueueScaledPool"):
        eks_inference.QueueScaledPool  # noqa: B018


def test_plain_python_starts_no_cdk() -> None:
    """Importing values, planning, manifests and testing starts no jsii and no CDK."""
    output = subprocess.run(
        [sys.executable, "-c", IMPORT_EACH, *PLAIN],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = json.loads(output)
    assert {name: loaded for name, loaded in found.items() if loaded} == {}
    assert {
        "eks_inference.model",
        "eks_inference.planning.serving",
        "eks_inference.manifests.serving",
        "eks_inference.testing",
        "eks_inference.node_identity",
        "eks_inference.rules.model_rules",
        "eks_inference.rules.pool_rules",
        "eks_inference.rules.reference",
    } <= found.keys()


@pytest.mark.parametrize("name", sorted(STARTS_CDK))
def test_constructs_are_the_only_exceptions(name: str) -> None:
    """The modules left out above exist, and each needs CDK, cdk8s or a construct."""
    source = Path(str(importlib.import_module(name).__file__)).read_text()
    others = "|".join(re.escape(other) for other in STARTS_CDK - {name})
    assert re.search(
        "^(from constructs import Construct|import cdk8s|from aws_cdk import"
        f"|from ({others}) import)",
        source,
        re.MULTILINE,
    )


def test_library_is_typed() -> None:
    """Type checkers of other projects see the library's types."""
    assert (FOLDER / "py.typed").is_file()


def test_distribution_folder_shadows_nothing() -> None:
    """The folder called like the PyPI package 'constructs' is no package itself."""
    root = Path(__file__).parents[2]
    assert not (root / "constructs" / "__init__.py").exists()
    assert importlib.import_module("constructs").Construct.__name__ == "Construct"
