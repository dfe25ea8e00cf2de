import inspect
import json
import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk.assertions import Template

import eks_inference
from eks_inference.testing import imported_cluster

CONSTRUCTS = Path(__file__).parents[2] / "constructs"
RELEASES = CONSTRUCTS / "api"
"""What each release has promised; written once by ``make api`` and then kept."""

STATEFUL = {"AWS::S3::Bucket", "AWS::KMS::Key", "AWS::EFS::FileSystem"}


def signature(member: Any) -> str:
    """Return the arguments of a callable with their defaults, without types.

    A member of an enumeration is its name here: the facts behind it may grow.
    """
    parameters = inspect.signature(member).parameters.values()
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    return re.sub(r"<(\w+\.\w+): [^<>]*>", r"\1", str(inspect.Signature(plain)))


def public_members(cls: type) -> dict[str, str]:
    """Return what a class promises: its constructor, methods and attributes."""
    if issubclass(cls, Enum):
        return {member.name: "member" for member in cls}
    members = {"__init__": signature(cls.__init__)}
    for name, member in vars(cls).items():
        if name.startswith("_"):
            continue
        if isinstance(member, classmethod | staticmethod):
            members[name] = signature(member.__func__)
        elif callable(member):
            members[name] = signature(member)
        else:
            members[name] = "attribute"
    return members


def stateful_ids() -> dict[str, str]:
    """Return the logical ids of everything that holds data, by type."""
    stack = cdk.Stack(cdk.App(), "Stack")
    vpc = ec2.Vpc(stack, "Vpc", max_azs=2)
    eks_inference.ModelStore(stack, "Store")
    eks_inference.CompileCache(
        stack,
        "Cache",
        cluster=imported_cluster(stack),
        vpc=vpc,
        node_security_group=ec2.SecurityGroup(stack, "Nodes", vpc=vpc),
    )
    resources = Template.from_stack(stack).to_json()["Resources"]
    return {
        logical_id: resource["Type"]
        for logical_id, resource in sorted(resources.items())
        if resource["Type"] in STATEFUL
    }


def promised() -> dict[str, Any]:
    """Return everything that other teams rely on."""
    return {
        "names": {
            name: public_members(getattr(eks_inference, name))
            for name in sorted(eks_inference.__all__)
        },
        "logical ids": stateful_ids(),
    }


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """Return the public names, and the logical ids, that are not as they were."""
    return {
        name
        for part in ("names", "logical ids")
        for name in before[part].keys() | after[part].keys()
        if before[part].get(name) != after[part].get(name)
    }


def sections(changelog: str) -> list[tuple[str, str]]:
    """Return version and text of each section, newest first."""
    parts = re.split(r"^## \[(.+?)\].*$", changelog, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def unmentioned(
    before: Mapping[str, Any], after: Mapping[str, Any], changelog: str, release: str
) -> set[str]:
    """Return what has changed since a release without a word in the changelog."""
    newer = ""
    for version, text in sections(changelog):
        if version == release:
            break
        newer += text
    return {name for name in changed(before, after) if f"`{name}" not in newer}


def newest_release() -> tuple[str, dict[str, Any]]:
    """Return the newest recorded release and what it has promised."""
    file = max(
        RELEASES.glob("*.json"),
        key=lambda path: tuple(map(int, path.stem.split("."))),
    )
    return file.stem, json.loads(file.read_text())


def test_api_changes_stand_in_the_changelog() -> None:
    """A public name, argument or logical id changes only with a changelog entry."""
    release, before = newest_release()
    changelog = (CONSTRUCTS / "CHANGELOG.md").read_text()

    assert unmentioned(before, promised(), changelog, release) == set()


def test_renamed_argument_without_an_entry_is_found() -> None:
    """The check sees a renamed argument, and an entry for it satisfies the check."""
    release, before = newest_release()
    after = json.loads(json.dumps(before))
    after["names"]["GpuInferencePool"]["__init__"] = "(self, scope, id, *, clusters)"
    entry = "## [Unreleased]\n\n- `GpuInferencePool`: `cluster` is now `clusters`.\n"
    log = f"## [{release}] - 2026-11-24\n"

    assert unmentioned(before, after, log, release) == {"GpuInferencePool"}
    assert unmentioned(before, after, entry + log, release) == set()


def test_moved_logical_id_without_an_entry_is_found() -> None:
    """The check sees a stateful resource under another logical id."""
    release, before = newest_release()
    after = json.loads(json.dumps(before))
    moved = next(iter(after["logical ids"]))
    after["logical ids"]["Elsewhere"] = after["logical ids"].pop(moved)

    assert unmentioned(before, after, "", release) == {moved, "Elsewhere"}


def test_every_public_name_stands_in_the_changelog() -> None:
    """The changelog says when a public name came."""
    changelog = (CONSTRUCTS / "CHANGELOG.md").read_text()

    assert {n for n in eks_inference.__all__ if f"`{n}`" not in changelog} == set()


def test_released_version_has_its_record() -> None:
    """The version of the package has a record of what it promises."""
    version = re.search(
        r'^version = "(.+)"$', (CONSTRUCTS / "pyproject.toml").read_text(), re.MULTILINE
    )

    assert version is not None
    assert newest_release()[0] == version[1]


def record() -> None:
    """Write the record of the version in pyproject.toml."""
    text = (CONSTRUCTS / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.+)"$', text, re.MULTILINE)
    assert version is not None
    RELEASES.mkdir(exist_ok=True)
    target = RELEASES / f"{version[1]}.json"
    target.write_text(json.dumps(promised(), indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    record()
