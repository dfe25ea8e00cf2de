import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template

import eks_inference
import eks_inference.planning
import eks_inference.simulation
from eks_inference.testing import imported_cluster

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "constructs" / "src" / "eks_inference"
FENCE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def docstring_examples() -> Iterator[tuple[str, str]]:
    """Yield the name and the code of every example in a docstring."""
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                for code in FENCE.findall(ast.get_docstring(node) or ""):
                    yield node.name, textwrap.dedent(code)


def scene() -> dict[str, Any]:
    """Return what an example may take for granted: a stack and what is around it."""
    app = cdk.App()
    stack = cdk.Stack(app, "Stack")
    names: dict[str, Any] = {
        name: getattr(module, name)
        for module in (eks_inference.simulation, eks_inference.planning, eks_inference)
        for name in module.__all__
    }
    cluster = imported_cluster(stack)
    store = eks_inference.ModelStore(stack, "SceneStore")
    vpc = ec2.Vpc(stack, "SceneVpc", max_azs=2)
    return names | {
        "checkpoint": eks_inference.planning.CHECKPOINTS["mistral-7b-awq"],
        "app": app,
        "self": stack,
        "stack": stack,
        "cluster": cluster,
        "store": store,
        "bucket": store,
        "vpc": vpc,
        "node_security_group": ec2.SecurityGroup(stack, "SceneNodes", vpc=vpc),
        "role": iam.Role(
            stack, "SceneRole", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com")
        ),
        "pool": eks_inference.GpuInferencePool(stack, "ScenePool", cluster=cluster),
        "model": eks_inference.Model.from_bucket(
            store, "models/a/", name="a", weights_gb=4, max_model_len=8192
        ),
    }


EXAMPLES = list(docstring_examples())


@pytest.mark.parametrize(("name", "code"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_docstring_examples_run(name: str, code: str) -> None:
    """An example in a docstring runs as it stands, and its app synthesizes."""
    names = scene()

    exec(compile(code, name, "exec"), names)

    assert Template.from_stack(names["stack"]).to_json()["Resources"]


def test_every_public_class_has_an_example() -> None:
    """A reader finds an example at every construct and value that an app makes."""
    shown = {name for name, _ in EXAMPLES}
    without = {
        *("Accelerator", "ConfigurationError", "Quantization", "Requirement"),
        "Severity",
    }
    interfaces = {name for name in eks_inference.__all__ if re.match("I[A-Z]", name)}

    assert set(eks_inference.__all__) - without - interfaces <= shown


@pytest.mark.parametrize(
    "code",
    [
        code
        for page in (
            "constructs/README.md",
            "docs/planning.md",
            "docs/simulation.md",
            "docs/scaling.md",
        )
        for code in FENCE.findall((ROOT / page).read_text())
    ],
)
def test_examples_of_pages_run(code: str) -> None:
    """The code of the package page and of the planner's runs as it stands."""
    names = scene()

    exec(compile(code, "README.md", "exec"), names)

    assert Template.from_stack(names["stack"]).to_json()["Resources"]


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=str)
def test_pages_stand_in_the_navigation(page: Path) -> None:
    """Every page of the documentation can be reached from the site's navigation."""
    assert f": {page.name}\n" in (ROOT / "mkdocs.yml").read_text() + "\n"


@pytest.mark.parametrize("name", sorted(eks_inference.__all__))
def test_public_names_stand_in_the_reference(name: str) -> None:
    """Every public name has its entry in the reference."""
    pages = "".join(
        (ROOT / "docs" / page).read_text() for page in ("constructs.md", "values.md")
    )

    assert f"::: eks_inference.{name}\n" in pages
