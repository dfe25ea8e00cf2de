"""The nodes' user data holds settings that Bottlerocket documents, and nothing else."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from eks_inference.manifests.user_data import gpu_node_user_data
from eks_inference.testing import manifests
from tests.app.conftest import Templates

DOCUMENTED = json.loads(
    Path(__file__).with_name("bottlerocket_settings.json").read_text()
)
"""Keys of three groups of settings, each with its types and the file it was read in."""

TYPES: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    str: "string",
    list: "array",
    dict: "table",
    float: "float",
}

Key = tuple[str, ...]


def parts(key: str) -> Key:
    """Return the parts of a dotted key, some of which are quoted."""
    return tuple(part.strip('"') for part in re.findall(r'"[^"]+"|[^.]+', key))


FACTS: dict[Key, dict[str, Any]] = {
    parts(key): fact for key, fact in DOCUMENTED["keys"].items()
}


def fact_of(key: Key) -> dict[str, Any] | None:
    """Return what is documented for a key; a part such as <name> stands for any."""
    for known, fact in FACTS.items():
        if len(known) == len(key) and all(
            ours == theirs or theirs.startswith("<")
            for ours, theirs in zip(key, known, strict=True)
        ):
            return fact
    return None


def leaves(value: Mapping[str, Any], above: Key = ()) -> Iterator[tuple[Key, object]]:
    """Yield every setting of a document: each key that is no table."""
    for name, item in value.items():
        if isinstance(item, dict):
            yield from leaves(item, (*above, name))
        else:
            yield (*above, name), item


def problems_of(user_data: str) -> list[str]:
    """Return which settings are not documented, or have another type or value."""
    found = []
    for key, value in leaves(tomllib.loads(user_data)):
        fact = fact_of(key)
        if fact is None:
            found.append(f"{'.'.join(key)} is not documented")
        elif TYPES[type(value)] not in fact["types"]:
            found.append(f"{'.'.join(key)} is no {TYPES[type(value)]}")
        elif "values" in fact and value not in fact["values"]:
            found.append(f"{'.'.join(key)} cannot be {value!r}")
    return found


def user_data_of(templates: Templates) -> dict[str, str]:
    """Return the user data of every EC2NodeClass that has some."""
    return {
        item["metadata"]["name"]: item["spec"]["userData"]
        for template in templates.values()
        for objects in manifests(template).values()
        for item in objects
        if item["kind"] == "EC2NodeClass" and "userData" in item["spec"]
    }


def test_settings_are_documented(templates: Templates) -> None:
    """Every setting of every node class exists, with its type and its values."""
    found = user_data_of(templates)
    assert "gpu-24" in found
    assert [problem for text in found.values() for problem in problems_of(text)] == []


def test_images_are_pulled_in_parallel() -> None:
    """The SOCI snapshotter downloads and unpacks the parts of one image at once."""
    settings = tomllib.loads(gpu_node_user_data())["settings"]
    assert settings["container-runtime"]["snapshotter"] == "soci"
    soci = settings["container-runtime-plugins"]["soci-snapshotter"]
    assert soci["pull-mode"] == "parallel-pull-unpack"
    pull = soci["parallel-pull-unpack"]
    # the defaults are 3, 1 and one request for a whole layer
    assert pull["max-concurrent-downloads-per-image"] > 3
    assert pull["max-concurrent-unpacks-per-image"] > 1
    assert re.fullmatch(r"\d+mb", pull["concurrent-download-chunk-size"])


@pytest.mark.parametrize(
    ("written", "wrong", "problem"),
    [
        ("snapshotter =", "snapshoter =", "is not documented"),
        ("max-concurrent-unpacks-per-image", "max-unpacks-per-image", "not documented"),
        ("[settings.container-runtime]", "[settings.runtime]", "is not documented"),
        ('"16mb"', "16.5", "is no float"),
        ("= 20", '= "20"', "is no string"),
        ("= true", '= "true"', "is no string"),
        ('"soci"', '"stargz"', "cannot be 'stargz'"),
        ('"parallel-pull-unpack"\n', '"lazy"\n', "cannot be 'lazy'"),
    ],
)
def test_wrong_settings_are_found(written: str, wrong: str, problem: str) -> None:
    """A misspelt key, another type and an unknown value are each reported."""
    good = gpu_node_user_data()
    assert written in good
    [found] = problems_of(good.replace(written, wrong, 1))
    assert problem in found


def test_facts_have_sources() -> None:
    """Every documented key names a source, which names repository, file and commit."""
    for name, source in DOCUMENTED["sources"].items():
        assert re.fullmatch(r"bottlerocket-os/\S+ \S+ @ [0-9a-f]{7,40}", source), name
    used = {fact["source"] for fact in FACTS.values()}
    assert used == set(DOCUMENTED["sources"])
    for fact in FACTS.values():
        assert set(fact["types"]) < set(TYPES.values())


def test_quoted_and_named_parts_are_matched() -> None:
    """Keys with quotes and keys of a user's choice find their documentation."""
    text = (
        "[settings.kubernetes.eviction-hard]\n"
        '"memory.available" = "15%"\n'
        "[settings.kubernetes.node-labels]\n"
        '"example.com/role" = "gpu"\n'
    )
    assert problems_of(text) == []
    assert len(problems_of(text.replace("memory.available", "memory.free"))) == 1
