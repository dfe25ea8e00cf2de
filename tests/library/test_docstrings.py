"""Tests that everything public says what it takes, and each test what it shows."""

import ast
import enum
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

import eks_inference
import eks_inference.planning
import eks_inference.testing

TESTS = Path(__file__).parents[1]
OF_EVERY_CONSTRUCT = {"self", "cls", "scope", "id"}


def modules() -> Iterator[str]:
    """Return the names of the library's modules."""
    yield "eks_inference"
    for info in pkgutil.walk_packages(eks_inference.__path__, "eks_inference."):
        yield info.name


def documented(item: object) -> list[str] | None:
    """Return the arguments that a docstring names, or None where it has no list."""
    text = inspect.getdoc(item) or ""
    section = re.search(r"^Args:\n((?:    .*\n?|\n)+)", text, re.MULTILINE)
    return section and re.findall(r"^    (\w+):", section[1], re.MULTILINE)


def taken(item: Callable[..., Any]) -> list[str]:
    """Return the arguments of a function, or those of a class's constructor."""
    # jsii gives its classes a signature of their own
    called = vars(item).get("__init__", item)
    return [
        name
        for name, parameter in inspect.signature(called).parameters.items()
        if name not in OF_EVERY_CONSTRUCT
    ]


def defined() -> dict[str, Callable[..., Any]]:
    """Return every public class, function and method of the library by its name."""
    found: dict[str, Callable[..., Any]] = {}
    for module in modules():
        for name, item in vars(importlib.import_module(module)).items():
            if name.startswith("_") or getattr(item, "__module__", "") != module:
                continue
            if inspect.isclass(item):
                found[f"{module}.{name}"] = item
                found |= {
                    f"{module}.{name}.{key}": getattr(item, key)
                    for key, value in vars(item).items()
                    if not key.startswith("_")
                    and isinstance(value, FunctionType | classmethod)
                }
            elif inspect.isfunction(inspect.unwrap(item)):
                found[f"{module}.{name}"] = item
    return found


DEFINED = defined()
CLASSES = {
    name: item
    for name, item in DEFINED.items()
    if inspect.isclass(item)
    and not issubclass(item, enum.Enum)
    and not getattr(item, "_is_protocol", False)
    # a class that only inherits its constructor leaves the arguments to its base
    and "__init__" in vars(item)
    and taken(item)
}
FUNCTIONS_WITH_A_LIST = {
    name: item
    for name, item in DEFINED.items()
    if not inspect.isclass(item) and documented(item) is not None
}
PUBLIC_FUNCTIONS = {
    name: item
    for name, item in DEFINED.items()
    if not inspect.isclass(item)
    and taken(item)
    and (
        getattr(item, "__module__", "") == "eks_inference.testing"
        or (
            name.rpartition(".")[2] in eks_inference.planning.__all__
            and item.__module__.startswith("eks_inference.planning.")
        )
        or any(f".{public}." in name for public in eks_inference.__all__)
    )
}


def _tests_of(path: Path) -> Iterator[ast.FunctionDef]:
    """Return the tests of a file."""
    for item in ast.walk(ast.parse(path.read_text())):
        if isinstance(item, ast.FunctionDef) and item.name.startswith("test"):
            yield item


@pytest.mark.parametrize("name", CLASSES)
def test_classes_document_every_argument(name: str) -> None:
    """The docstring of a class lists what its constructor takes, in that order."""
    assert documented(CLASSES[name]) == taken(CLASSES[name])


@pytest.mark.parametrize("name", FUNCTIONS_WITH_A_LIST)
def test_lists_of_arguments_are_complete(name: str) -> None:
    """A function that lists arguments lists all that its readers do not know."""
    item = FUNCTIONS_WITH_A_LIST[name]
    listed = [key for key in documented(item) or () if key not in OF_EVERY_CONSTRUCT]
    assert listed == taken(item)


@pytest.mark.parametrize("name", PUBLIC_FUNCTIONS)
def test_public_functions_document_every_argument(name: str) -> None:
    """An argument of a public function is listed there, or by the class it makes."""
    item = PUBLIC_FUNCTIONS[name]
    owner = DEFINED.get(name.rpartition(".")[0])
    listed = {*(documented(item) or ()), *(documented(owner) or ())}
    assert set(taken(item)) <= listed


@pytest.mark.parametrize("name", DEFINED)
def test_everything_public_has_a_docstring(name: str) -> None:
    """Every public class, function and method says what it is for."""
    assert inspect.getdoc(DEFINED[name])


def test_inspection_finds_the_library() -> None:
    """The tests above look at the constructs, the values and the functions."""
    assert {
        "eks_inference.queue_scaled_model.QueueScaledModel",
        "eks_inference.gpu_inference_pool.GpuInferencePool",
        "eks_inference.model_store.ModelStore",
        "eks_inference.image_cache.ImageCache",
        "eks_inference.inference_endpoints.InferenceEndpoints",
        "eks_inference.compile_cache.CompileCache",
        "eks_inference.node_identity.NodeIdentity",
        "eks_inference.rules.Rule",
        "eks_inference.pod_identity_role.PodIdentityRole",
        "eks_inference.model.Model",
        "eks_inference.planning.pool.GpuPool",
    } <= CLASSES.keys()
    assert "eks_inference.planning.serving.plan_serving" in PUBLIC_FUNCTIONS
    assert "eks_inference.testing.as_text" in PUBLIC_FUNCTIONS
    assert "eks_inference.model.Model.from_bucket" in PUBLIC_FUNCTIONS
    assert "eks_inference.manifests.gpu_pool.node_class" in FUNCTIONS_WITH_A_LIST


@pytest.mark.parametrize(
    "path", sorted(TESTS.rglob("test_*.py")), ids=lambda path: path.stem
)
def test_each_test_states_what_it_shows(path: Path) -> None:
    """Every test of the project has a docstring of one sentence."""
    found = list(_tests_of(path))
    assert found, "no tests in this file"
    for test in found:
        text = ast.get_docstring(test) or ""
        assert re.fullmatch(r"[^\n]+\.", text), f"{test.name}: {text!r}"
