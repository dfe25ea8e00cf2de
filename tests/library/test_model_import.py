"""Tests of the job that brings a model into a bucket."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import aws_cdk as cdk
import cdk8s
import pytest
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk.assertions import Template as Synthesized

from eks_inference import Model, ModelStore, SecretKey
from eks_inference.image import VLLM_IMAGE
from eks_inference.import_source import BucketSource, HuggingFaceSource
from eks_inference.importing import bucket as bucket_module
from eks_inference.importing import files as files_module
from eks_inference.manifests import Manifest
from eks_inference.manifests.model_import import (
    FINAL_CODES,
    IMPORT_DEADLINE_SECONDS,
    MARKER,
    Importing,
    import_manifests,
    job_modules,
    source_hash,
    wait_for_import,
    with_hash,
)
from eks_inference.model_import import ModelImport
from eks_inference.testing import as_text, manifests
from tests.library.conftest import (
    BadInputs,
    Bucket,
    Template,
    bad_inputs,
    children,
    import_bucket,
    import_cluster,
    import_v1_cluster,
    refusal,
)
from tests.schemas.crds import from_npm
from tests.schemas.manifests import problems

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "Qwen/Qwen2.5-7B-Instruct-AWQ"
HUB = HuggingFaceSource(repo=REPO, revision=COMMIT)

MOST_BYTES = 32 * 2**10
"""Our own bound: a template takes a megabyte, and should take several imports."""


def source(**changes: Any) -> HuggingFaceSource:
    """Return a commit of a repository, with some values changed."""
    return replace(HUB, **changes)


def define(stack: cdk.Stack, id: str = "Weights", **changes: Any) -> ModelImport:
    """Define an import with the fewest arguments, and some more."""
    values: dict[str, Any] = {
        "cluster": None,
        "bucket": None,
        "prefix": "models/qwen/",
        "source": HUB,
        **changes,
    }
    known = stack.node.try_find_child("Cluster")
    values["cluster"] = values["cluster"] or known or import_cluster(stack)
    known = stack.node.try_find_child("Bucket")
    values["bucket"] = values["bucket"] or known or import_bucket(stack)
    return ModelImport(stack, id, **values)


@pytest.fixture
def alone() -> cdk.Stack:
    """A stack of an app of its own, for a test that synthesizes it."""
    return cdk.Stack(cdk.App(analytics_reporting=False), "Alone")


def synthesized(stack: cdk.Stack) -> Template:
    """Return the template of a stack."""
    found: Template = Synthesized.from_stack(stack).to_json()
    return found


def rendered(template: Template) -> dict[str, Manifest]:
    """Return the objects of the only import of a template, by kind."""
    [group] = manifests(template).values()
    return {item["kind"]: item for item in group}


def make(**changes: Any) -> Importing:
    """Return what the objects of an import are rendered from, with values changed."""
    values: dict[str, Any] = {
        "name": "qwen",
        "source": HUB,
        "bucket": "weights",
        "prefix": "models/qwen/1/",
        "image": "registry.example.com/vllm:0.31.0",
        "namespace": "inference",
        "region": "eu-central-1",
        "node_selector": {"kubernetes.io/arch": "amd64"},
    }
    return Importing(**{**values, **changes})


def objects(**changes: Any) -> dict[str, Manifest]:
    """Return the objects of an import by kind."""
    found = with_hash(import_manifests(make(**changes)))
    return {item["kind"]: item for item in found}


def container(found: Mapping[str, Manifest]) -> Manifest:
    """Return the only container of an import."""
    [only] = found["Job"]["spec"]["template"]["spec"]["containers"]
    result: Manifest = only
    return result


def policies(template: Template) -> dict[str, list[dict[str, Any]]]:
    """Return the statements of the only role, by the name of their policy."""
    [role] = [
        item["Properties"]
        for item in template["Resources"].values()
        if item["Type"] == "AWS::IAM::Role"
    ]
    return {
        item["PolicyName"]: item["PolicyDocument"]["Statement"]
        for item in role["Policies"]
    }


@pytest.mark.parametrize("version", ["1.31", "1.35"])
@pytest.mark.parametrize(
    "origin",
    [
        HUB,
        source(token=SecretKey("hugging-face", "token")),
        BucketSource(bucket=Bucket(), prefix="a/", revision="1"),
    ],
    ids=["public", "gated", "bucket"],
)
def test_objects_are_valid(origin: Any, version: str) -> None:
    """An API server accepts every object of an import."""
    for item in objects(source=origin).values():
        assert problems(item, kubernetes_version=version, crds=from_npm()) == []


def test_objects_and_their_order() -> None:
    """Identity and program are there before the Job, in one namespace."""
    found = objects()
    assert list(found) == ["ServiceAccount", "ConfigMap", "Job"]
    assert {item["metadata"]["namespace"] for item in found.values()} == {"inference"}
    assert found["ServiceAccount"]["metadata"]["name"] == "qwen-import"
    name = found["Job"]["metadata"]["name"]
    assert name.startswith("qwen-import-")
    assert found["ConfigMap"]["metadata"]["name"] == name
    [volume] = found["Job"]["spec"]["template"]["spec"]["volumes"]
    assert volume["configMap"]["name"] == name
    labels = found["Job"]["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/component"] == "model-import"
    assert labels["app.kubernetes.io/name"] != "vllm"


def test_program_fits_a_template_several_times() -> None:
    """The modules of the job are a small part of a template and of a ConfigMap."""
    assert sum(map(len, job_modules().values())) < MOST_BYTES
    assert objects()["ConfigMap"]["data"] == job_modules()
    assert objects()["ConfigMap"]["immutable"] is True


def test_pod_may_do_nothing_but_import() -> None:
    """The pod is restricted, has no token of Kubernetes, and asks for no GPU."""
    found = objects()
    pod = found["Job"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert found["ServiceAccount"]["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    only = container(found)
    assert only["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "nvidia.com/gpu" not in str(found["Job"])
    assert "tolerations" not in pod
    assert pod["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    assert only["resources"] == {
        "requests": {"cpu": "2", "memory": "1Gi"},
        "limits": {"memory": "1Gi"},
    }


def test_memory_holds_what_is_under_way() -> None:
    """The parts that are under way need less than half of the pod's memory."""
    assert (files_module.IN_FLIGHT + 1) * files_module.PART_BYTES < 2**30 / 2


def test_failures_that_stay_end_the_job_at_once() -> None:
    """What no attempt can repair is not attempted again, a lost node is no failure."""
    kinds = files_module.ImportFailedError.__subclasses__()
    codes = {kind.code for kind in kinds}
    assert len(codes) == len(kinds)
    passing = {
        files_module.InterruptedImportError.code,
        files_module.WrongContentError.code,
    }
    assert set(FINAL_CODES) == codes - passing
    spec = objects()["Job"]["spec"]
    final, ignored = spec["podFailurePolicy"]["rules"]
    assert final["action"] == "FailJob"
    assert final["onExitCodes"]["values"] == list(FINAL_CODES)
    assert ignored["action"] == "Ignore"
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["backoffLimit"] == 6
    assert spec["activeDeadlineSeconds"] == IMPORT_DEADLINE_SECONDS


def test_marker_is_the_one_that_the_job_writes() -> None:
    """A model waits for the object that the job writes."""
    assert bucket_module.MARKER == MARKER


def test_token_is_a_reference() -> None:
    """The pod gets the token from a Secret, and no object holds it."""
    found = objects(source=source(token=SecretKey("hugging-face", "token")))
    variables = {item["name"]: item for item in container(found)["env"]}
    assert variables["HF_TOKEN"] == {
        "name": "HF_TOKEN",
        "valueFrom": {"secretKeyRef": {"name": "hugging-face", "key": "token"}},
    }
    public = {item["name"] for item in container(objects())["env"]}
    assert "HF_TOKEN" not in public


def test_environment_says_what_to_import() -> None:
    """Source and target reach the job as they were given."""
    variables = {
        item["name"]: item.get("value") for item in container(objects())["env"]
    }
    assert variables == {
        "AWS_DEFAULT_REGION": "eu-central-1",
        "PYTHONUNBUFFERED": "1",
        "TARGET_BUCKET": "weights",
        "TARGET_PREFIX": "models/qwen/1/",
        "SOURCE_REVISION": COMMIT,
        "SOURCE_REPO": REPO,
        "SOURCE_ENDPOINT": "https://huggingface.co",
    }
    copy = BucketSource(bucket=Bucket(), prefix="teams/chat/", revision="2026-11")
    variables = {
        item["name"]: item.get("value")
        for item in container(objects(source=copy))["env"]
    }
    assert variables["SOURCE_BUCKET"] == "weights"
    assert variables["SOURCE_PREFIX"] == "teams/chat/"
    assert variables["SOURCE_REVISION"] == "2026-11"
    assert "SOURCE_REPO" not in variables


@pytest.mark.parametrize(
    "changes",
    [
        {"source": source(revision="f" * 40)},
        {"source": source(repo="Qwen/Other")},
        {"image": "registry.example.com/vllm:0.33.0"},
        {"prefix": "models/qwen/2/"},
        {"node_selector": {"karpenter.sh/nodepool": "system"}},
    ],
    ids="-".join,
)
def test_another_job_has_another_name(changes: dict[str, Any]) -> None:
    """A Job cannot be changed: whatever is in it, its name says so."""
    before, after = objects(), objects(**changes)
    assert before["Job"]["metadata"]["name"] != after["Job"]["metadata"]["name"]
    assert before["ServiceAccount"] == after["ServiceAccount"]


def test_the_same_job_keeps_its_name() -> None:
    """Numbers that CDK gives its tokens anew do not make another Job."""
    names = {
        objects(bucket=f"${{Token[TOKEN.{number}]}}", region=f"${{Token[A.{number}]}}")[
            "Job"
        ]["metadata"]["name"]
        for number in (7, 8)
    }
    assert len(names) == 1


def test_folder_follows_source_and_revision() -> None:
    """Another revision, repository or mirror is another folder; a token is not."""
    hashes = {
        source_hash(item)
        for item in (
            HUB,
            source(revision="f" * 40),
            source(repo="Qwen/Other"),
            source(endpoint="https://mirror.example.com"),
            BucketSource(bucket=Bucket(), prefix="a/", revision="1"),
            BucketSource(bucket=Bucket(), prefix="a/", revision="2"),
            BucketSource(bucket=Bucket(), prefix="b/", revision="1"),
            BucketSource(bucket=Bucket("other"), prefix="a/", revision="1"),
        )
    }
    assert len(hashes) == 8
    assert source_hash(source(token=SecretKey("a"))) == source_hash(HUB)
    unknown = [
        BucketSource(
            bucket=Bucket(f"${{Token[TOKEN.{number}]}}"), prefix="a/", revision="1"
        )
        for number in (1, 2)
    ]
    assert source_hash(unknown[0]) == source_hash(unknown[1])


def test_wait_is_restricted_and_reads_the_marker() -> None:
    """What holds a model back is small, restricted, and knows bucket and marker."""
    found = wait_for_import(
        image="vllm:1", region="eu-central-1", bucket="weights", prefix="models/a/1/"
    )
    assert found["image"] == "vllm:1"
    assert found["command"][:2] == ["python3", "-c"]
    assert "def wait(" in found["command"][2]
    assert found["securityContext"]["readOnlyRootFilesystem"] is True
    assert found["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert found["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert {item["name"]: item["value"] for item in found["env"]} == {
        "AWS_DEFAULT_REGION": "eu-central-1",
        "MODEL_BUCKET": "weights",
        "MODEL_MARKER": f"models/a/1/{MARKER}",
        "WAIT_SECONDS": str(IMPORT_DEADLINE_SECONDS),
    }
    pod = objects()["Job"]
    pod["spec"]["template"]["spec"]["initContainers"] = [found]
    assert problems(pod, kubernetes_version="1.35", crds=from_npm()) == []


def test_default_import(alone: cdk.Stack) -> None:
    """With the fewest arguments there are a role, its association and the objects."""
    weights = define(alone)
    template = synthesized(alone)
    kinds = sorted(item["Type"] for item in template["Resources"].values())
    assert kinds == [
        "AWS::EKS::PodIdentityAssociation",
        "AWS::IAM::Role",
        "Custom::AWSCDK-EKS-KubernetesResource",
    ]
    found = rendered(template)
    assert container(found)["image"] == VLLM_IMAGE
    assert found["Job"]["metadata"]["name"].startswith("weights-import-")
    assert weights.prefix == f"models/qwen/{source_hash(HUB)}/"
    assert weights.marker == f"{weights.prefix}{MARKER}"
    [association] = [
        item["Properties"]
        for item in template["Resources"].values()
        if item["Type"] == "AWS::EKS::PodIdentityAssociation"
    ]
    assert association["ServiceAccount"] == "weights-import"
    assert association["Namespace"] == weights.namespace == "inference"


def test_credentials_are_there_before_the_pod(alone: cdk.Stack) -> None:
    """The Job is created after the association of its role."""
    define(alone)
    template = synthesized(alone)
    by_type = {item["Type"]: key for key, item in template["Resources"].items()}
    applied = by_type["Custom::AWSCDK-EKS-KubernetesResource"]
    needed = by_type["AWS::EKS::PodIdentityAssociation"]
    assert needed in template["Resources"][applied]["DependsOn"]


def test_role_writes_its_own_prefix_and_nothing_else(alone: cdk.Stack) -> None:
    """The role can write below the model's folder, list it, and use the key."""
    store = ModelStore(alone, "Models")
    weights = define(alone, bucket=store)
    template = synthesized(alone)
    found = policies(template)
    assert list(found) == ["WriteModel"]
    write, listed, key = found["WriteModel"]
    [bucket_id] = [
        key
        for key, item in template["Resources"].items()
        if item["Type"] == "AWS::S3::Bucket"
    ]
    assert write["Action"] == [
        "s3:AbortMultipartUpload",
        "s3:GetObject",
        "s3:PutObject",
    ]
    assert as_text(write["Resource"]) == f"${{{bucket_id}.Arn}}/{weights.prefix}*"
    assert listed["Action"] == "s3:ListBucket"
    assert as_text(listed["Resource"]) == f"${{{bucket_id}.Arn}}"
    assert listed["Condition"] == {"StringLike": {"s3:prefix": f"{weights.prefix}*"}}
    assert key["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert weights.bucket is store


def test_copy_reads_its_source(alone: cdk.Stack) -> None:
    """A copy may read below the source's prefix, with the source's key."""
    arn = "arn:aws:kms:eu-central-1:444455556666:key/theirs"
    theirs = s3.Bucket.from_bucket_attributes(
        alone,
        "Theirs",
        bucket_arn="arn:aws:s3:::theirs",
        encryption_key=kms.Key.from_key_arn(alone, "Key", arn),
    )
    define(
        alone, source=BucketSource(bucket=theirs, prefix="teams/chat/", revision="1")
    )
    read, listed, key = policies(synthesized(alone))["ReadSource"]
    assert read["Action"] == ["s3:GetObject"] or read["Action"] == "s3:GetObject"
    assert read["Resource"] == "arn:aws:s3:::theirs/teams/chat/*"
    assert listed["Condition"] == {"StringLike": {"s3:prefix": "teams/chat/*"}}
    assert key["Resource"] == arn
    assert key["Action"] == ["kms:Decrypt"] or key["Action"] == "kms:Decrypt"


def test_older_clusters_import_too(alone: cdk.Stack) -> None:
    """A cluster of the older module gets the same objects."""
    define(alone, cluster=import_v1_cluster(alone))
    assert list(rendered(synthesized(alone))) == ["ServiceAccount", "ConfigMap", "Job"]


def test_patches_reach_the_objects_and_the_name(alone: cdk.Stack) -> None:
    """A patch of the Job is applied, and makes it another Job."""
    path = "/spec/template/spec/priorityClassName"
    patch = [cdk8s.JsonPatch.add(path, "batch")]
    plain = define(alone, "Plain", name="weights")
    del plain
    other = cdk.Stack(cdk.App(analytics_reporting=False), "Alone")
    define(other, "Plain", name="weights", json_patches={"Job": patch})
    before, after = rendered(synthesized(alone)), rendered(synthesized(other))
    assert after["Job"]["spec"]["template"]["spec"]["priorityClassName"] == "batch"
    assert before["Job"]["metadata"]["name"] != after["Job"]["metadata"]["name"]


def test_model_takes_the_folder(stack: cdk.Stack) -> None:
    """A model in the folder of an import is a model like any other."""
    bucket = import_bucket(stack)
    weights = define(stack, bucket=bucket)
    model = Model.from_bucket(
        bucket, weights.prefix, name="qwen", weights_gb=5.6, max_model_len=8_192
    )
    assert model.uri == f"s3://weights/{weights.prefix}"


def test_fails_when_two_imports_have_one_name(stack: cdk.Stack) -> None:
    """Two imports of one name in a cluster would share a service account."""
    define(stack, "One", name="qwen")
    before = children(stack)
    message = refusal(lambda: define(stack, "Two", name="qwen"))
    assert "must be unique in its cluster, got 'qwen-import'" in message
    assert children(stack) == before


BRANCH = (
    "'revision' must be a commit of 40 hexadecimal digits, got "
    "{!r}; a branch or tag can move under a model that is served; take the commit from "
    "the repository's page 'Files and versions'"
)

BAD_HUB: BadInputs = [
    ({"revision": "main"}, BRANCH.format("main")),
    ({"revision": "0123456"}, BRANCH.format("0123456")),
    ({"revision": COMMIT.upper()}, BRANCH.format(COMMIT.upper())),
    ({"revision": None}, BRANCH.format(None)),
    *(
        (
            {"repo": repo},
            (
                "'repo' must be the owner and the name of a "
                f"repository, got {repo!r}; for example 'Qwen/Qwen2.5-7B-Instruct-AWQ'"
            ),
        )
        for repo in ("gpt2", "a/b/c", "../x", "a/..", "a/b--c", "a/b.git", "", None, 7)
    ),
    *(
        (
            {"endpoint": endpoint},
            (
                "'endpoint' must be an address with TLS and without a "
                f"path, got {endpoint!r}; for example 'https://huggingface.co'"
            ),
        )
        for endpoint in ("http://huggingface.co", "https://a/b", "https://u:p@a", None)
    ),
    (
        {"token": "hf_secret"},
        "'token' must be of class SecretKey, got 'hf_secret'",
    ),
]


@bad_inputs(BAD_HUB)
def test_fails_when_the_hub_is_misnamed(
    changes: Mapping[str, Any], message: str
) -> None:
    """What is no pinned commit of a repository is refused, with the reason."""
    assert refusal(lambda: source(**changes)) == f"Hugging Face source: {message}"


BAD_BUCKET: BadInputs = [
    ({"bucket": "b"}, "'bucket' must be a bucket, got 'b'"),
    (
        {"prefix": "models"},
        (
            "'prefix' must be a key prefix: names of letters, digits and '._=+@-', "
            "with a '/' behind each, got 'models'"
        ),
    ),
    (
        {"revision": "a b"},
        (
            "'revision' must be a name of letters, digits and '._-', at most 64 long, "
            "got 'a b'; for example '2026-11'"
        ),
    ),
]


@bad_inputs(BAD_BUCKET)
def test_fails_when_the_source_bucket_is_none(
    changes: Mapping[str, Any], message: str
) -> None:
    """What is no place in a bucket is refused, with the reason."""
    values = {"bucket": Bucket(), "prefix": "models/a/", "revision": "1", **changes}
    assert refusal(lambda: BucketSource(**values)) == f"bucket source: {message}"


_BAD_IMPORT: BadInputs = [
    (
        {"cluster": "platform"},
        "'cluster' must be a cluster of aws_eks or aws_eks_v2, got 'platform'",
    ),
    (
        {"bucket": "weights"},
        "'bucket' must be a bucket, got 'weights'",
    ),
    (
        {"prefix": "models/qwen"},
        (
            "'prefix' must be a key prefix: names of letters, digits and "
            "'._=+@-', with a '/' behind each, got 'models/qwen'; for example "
            "'models/mistral-7b-awq/'"
        ),
    ),
    (
        {"source": REPO},
        (f"'source' must be a HuggingFaceSource or a BucketSource, got {REPO!r}"),
    ),
    (
        {"name": "a" * 46},
        (
            "'name' must be a DNS label of at most 45 characters (a-z, "
            f"0-9 and '-', starting with a letter), got {'a' * 46!r}"
        ),
    ),
    (
        {"image": ""},
        "'image' must be a text that is not empty, got ''",
    ),
    (
        {"namespace": "A"},
        (
            "'namespace' must be a DNS label of at most 63 characters "
            "(a-z, 0-9 and '-', starting with a letter), got 'A'"
        ),
    ),
    (
        {"node_selector": {"a": 1}},
        (
            "'node_selector' must map labels to values, got {'a': 1}; "
            "for example {'kubernetes.io/arch': 'amd64'}"
        ),
    ),
    (
        {"json_patches": {"Pod": []}},
        (
            "'json_patches' must be one of 'ConfigMap', 'Job', "
            "'ServiceAccount', got 'Pod'; name a kind by its patches"
        ),
    ),
]

BAD_IMPORT: BadInputs = [
    (changes, f"import 'Weights': {message}") for changes, message in _BAD_IMPORT
]
"""Bad arguments of the construct, which are tried with those of all others."""


def test_longest_name_is_a_label() -> None:
    """The name of the Job is a label value, however long the import's is."""
    name = objects(name="a" * 45)["Job"]["metadata"]["name"]
    assert len(name) == 63
    assert json.dumps(name)
