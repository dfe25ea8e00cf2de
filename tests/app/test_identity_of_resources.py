"""Which names never change: a new one means that data is replaced and left behind.

A test that fails here asks for a migration, not for a new number.
"""

from dataclasses import replace
from typing import Any

import pytest

from infra.settings import ModelSettings, PoolSettings, Settings
from infra.stages import load
from tests.app.conftest import Templates, synthesis, synthesize, with_models

STATEFUL = {
    "AWS::EC2::VPC",
    "AWS::EFS::AccessPoint",
    "AWS::EFS::FileSystem",
    "AWS::EKS::Cluster",
    "AWS::KMS::Key",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
}
"""Types that hold data, or that everything else is inside of."""

PINNED = {
    "Network": {
        "FlowLogs16C1943A": "AWS::Logs::LogGroup",
        "Vpc8378EB38": "AWS::EC2::VPC",
    },
    "Registry": {"ImagesPullsLogs448C7AAA": "AWS::Logs::LogGroup"},
    "Cluster": {
        "ClusterEB0386A7": "AWS::EKS::Cluster",
        "ClusterKubectlProviderHandlerLogGroup3ECFC1AD": "AWS::Logs::LogGroup",
        "ClusterKubectlProviderframeworkonEventLogGroup6586722A": "AWS::Logs::LogGroup",
        "ControlPlaneLogs95F30E24": "AWS::Logs::LogGroup",
        "SecretsKey317DCF94": "AWS::KMS::Key",
    },
    "Storage": {
        "CompileCacheAccessPointDE09E4AD": "AWS::EFS::AccessPoint",
        "CompileCacheF17610C3": "AWS::EFS::FileSystem",
        "Models7F217E31": "AWS::S3::Bucket",
        "ModelsKeyC1527AC1": "AWS::KMS::Key",
    },
    "Platform": {
        "EksInferenceNodeDrainLogs7F0F1FDB": "AWS::Logs::LogGroup",
        "ObservabilityKey84D8AFE9": "AWS::KMS::Key",
    },
    "Serving": {"EksInferenceNodeDrainLogs7F0F1FDB": "AWS::Logs::LogGroup"},
}

SERVED = {
    "EksInferenceNodeDrainFunction24AE578F",
    "EksInferenceNodeDrainLogs7F0F1FDB",
    "EksInferenceNodeDrainRole04494BC3",
    "Poolsgpu24NodeDrain81C30850",
    "Poolsgpu2461247EC5",
    "Modelsmistral7bRoleB92DC9C1",
    "Modelsmistral7bRoleAssociation9EFF72DF",
    "Modelsmistral7bEDC28FCF",
}
"""The first pool and the first model: a new id deletes and starts them again."""


@pytest.mark.parametrize("stack", PINNED)
def test_logical_ids_of_stateful_resources(templates: Templates, stack: str) -> None:
    """The logical id of whatever holds data is the one that was deployed."""
    found = {
        logical_id: resource["Type"]
        for logical_id, resource in templates[stack]["Resources"].items()
        if resource["Type"] in STATEFUL
    }
    assert found == PINNED[stack]


def test_logical_ids_of_the_first_model(templates: Templates) -> None:
    """The logical ids of the first pool and model are the ones that were deployed."""
    assert templates["Serving"]["Resources"].keys() == SERVED


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_names(stage: str) -> None:
    """Stacks and cluster have the names that were deployed."""
    result = synthesis(load(stage))
    [cluster] = [
        resource["Properties"]["Name"]
        for resource in result.templates["Cluster"]["Resources"].values()
        if resource["Type"] == "AWS::EKS::Cluster"
    ]
    assert cluster == f"inference-{stage}"
    assert set(result.names) == {
        f"inference-{stage}-{stack.lower()}" for stack in PINNED
    }


def test_second_model_leaves_the_first_alone() -> None:
    """A model that is added changes nothing of what exists, wherever it stands."""
    settings = with_models(2)
    first, second = settings.models
    before = synthesize(replace(settings, models=(first,)))
    for models in ((first, second), (second, first)):
        after = synthesize(replace(settings, models=models))
        assert lost(before, after) == {}


def test_second_pool_leaves_the_first_alone() -> None:
    """A pool that is added with its model changes nothing of what exists."""
    before = load("dev")
    pool = PoolSettings(name="gpu-48", accelerators=("l40s",), max_gpus=4)
    model = ModelSettings(
        name="other",
        pool=pool.name,
        prefix="models/other/",
        weights_gb=20,
        max_model_len=4096,
        max_replicas=4,
    )
    after = replace(before, pools=(pool, *before.pools), models=(model, *before.models))
    assert lost(synthesize(before), synthesize(after)) == {}


def test_change_of_a_model_is_found() -> None:
    """The comparison sees that an existing model has changed."""
    before = load("dev")
    after = replace(
        before, models=(replace(before.models[0], name="mistral-7b-renamed"),)
    )
    changed = lost(synthesize(before), synthesize(after))
    assert changed.keys() == {"Serving"}
    assert changed["Serving"] == {item for item in SERVED if "Models" in item}


def test_no_compile_cache_renames_nothing() -> None:
    """Without the compile cache its resources are gone, and no other one is."""
    gone = lost(synthesize(load("dev")), synthesize(without_cache()))
    assert all(name.startswith("CompileCache") for name in gone["Storage"])
    assert gone.keys() == {"Storage", "Serving"}
    assert gone["Serving"] == {"Modelsmistral7bEDC28FCF"}


def test_administrator_keeps_its_entry() -> None:
    """An entry under a new id would be made beside the old one, which EKS refuses."""
    arns = tuple(
        f"arn:aws:iam::111122223333:role/{name}" for name in ("Admin", "team/Admin")
    )
    cluster = synthesize(replace(load("dev"), admin_role_arns=arns))["Cluster"]
    found = {
        logical_id: resource["Properties"]["PrincipalArn"]
        for logical_id, resource in cluster["Resources"].items()
        if resource["Type"] == "AWS::EKS::AccessEntry"
    }
    assert (
        found.items()
        >= {
            "ClusterAdministrator111122223333roleAdmin1814DCE3": arns[0],
            "ClusterAdministrator111122223333roleteamAdmin84107F1C": arns[1],
        }.items()
    )


def without_cache() -> Settings:
    """Return the default stage without its compile cache."""
    return replace(load("dev"), shared_compile_cache=False)


def lost(before: Templates, after: Templates) -> dict[str, set[str]]:
    """Return the resources that are missing or not the same afterwards, by stack."""
    found = {stack: _lost(before[stack], after[stack]) for stack in before}
    return {stack: names for stack, names in found.items() if names}


def _lost(before: Any, after: Any) -> set[str]:
    later = after["Resources"]
    return {
        logical_id
        for logical_id, resource in before["Resources"].items()
        if later.get(logical_id) != resource
    }
