"""The objects of an import, and what makes a model wait for it."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from eks_inference.import_source import HuggingFaceSource, ImportSource
from eks_inference.manifests import (
    APP_INSTANCE,
    APP_NAME,
    DO_NOT_DISRUPT,
    VLLM_USER,
    Manifest,
)

COMPONENT = "app.kubernetes.io/component"

IMPORT_COMPONENT = "model-import"
"""Value of the component label on the pods of imports, for a network policy."""

IMPORT_DEADLINE_SECONDS = 6 * 3600
"""When an import is given up, over all attempts. Assumed: 500 GB at 25 MB/s."""

FINAL_CODES = (12, 13, 14, 15, 16, 17)
"""Exit codes that another attempt cannot repair (``eks_inference.importing.files``)."""

MARKER = ".imported"
"""Object that an import writes last, below the prefix of its model."""

_MODULES = ("bucket.py", "files.py", "hub.py", "job.py")
_FOLDER = "/import"
_ATTEMPTS = 6
_CPU = "2"
_MEMORY = "1Gi"
"""An import holds five parts of 64 MiB, and Python with boto3 some 100 MiB."""

_HASH_DIGITS = 10
_PLACE = "@hash@"
_TOKEN = re.compile(r"\$\{Token\[[^\]]*\]\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Importing:
    """Everything that the objects of one import are rendered from.

    Args:
        name: What the names of the objects begin with.
        source: Where the model comes from.
        bucket: Name of the bucket that it goes to; may be a CDK token.
        prefix: Key prefix of the model, of this source and revision alone.
        image: Image with Python 3.11 and boto3.
        namespace: Namespace of all objects.
        region: AWS region of the bucket; may be a CDK token.
        node_selector: Labels of the nodes that it may run on.
    """

    name: str
    source: ImportSource
    bucket: str
    prefix: str
    image: str
    namespace: str
    region: str
    node_selector: Mapping[str, str]

    @property
    def service_account(self) -> str:
        """Name of the service account."""
        return f"{self.name}-import"

    @property
    def labels(self) -> dict[str, str]:
        """Labels of every object."""
        return {
            APP_NAME: IMPORT_COMPONENT,
            APP_INSTANCE: self.name,
            COMPONENT: IMPORT_COMPONENT,
        }


def source_hash(source: ImportSource) -> str:
    """Return the name of a source's own folder: another revision, another folder.

    Args:
        source: Where a model comes from.
    """
    return _hash(source.key)


def import_manifests(importing: Importing) -> list[Manifest]:
    """Return the objects of an import, in the order in which they are created.

    Names end with a place for a hash; see ``with_hash``.

    Args:
        importing: What they are rendered from.
    """
    metadata = {
        "name": f"{importing.service_account}-{_PLACE}",
        "namespace": importing.namespace,
        "labels": importing.labels,
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {**metadata, "name": importing.service_account},
            # the pod talks to S3 and the Hub, and never to the Kubernetes API
            "automountServiceAccountToken": False,
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "immutable": True,
            "data": job_modules(),
        },
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": metadata,
            "spec": {
                "backoffLimit": _ATTEMPTS,
                "activeDeadlineSeconds": IMPORT_DEADLINE_SECONDS,
                "podFailurePolicy": _failure_policy(),
                "template": {
                    "metadata": {
                        "labels": importing.labels,
                        # a consolidation would throw away the file under way
                        "annotations": {DO_NOT_DISRUPT: "true"},
                    },
                    "spec": _pod(importing),
                },
            },
        },
    ]


def with_hash(manifests: list[Manifest]) -> list[Manifest]:
    """Return the objects with names that end with a hash of what is in them.

    Kubernetes lets nobody change a Job or what it runs. A change so makes a new Job,
    which finds the marker and ends at once, or goes on; the old one is pruned.

    Args:
        manifests: Objects of an import, as they will be applied but for their names.
    """
    text = json.dumps(manifests)
    named: list[Manifest] = json.loads(text.replace(_PLACE, _hash(manifests)))
    return named


def wait_for_import(
    *,
    image: str,
    region: str,
    bucket: str,
    prefix: str,
    seconds: int = IMPORT_DEADLINE_SECONDS,
) -> Manifest:
    """Return the init container that holds a model back until its import has ended.

    Without it the model's container would start on a half-filled prefix, fail, and be
    started again with longer and longer pauses. It reads one object below the prefix,
    which the model's own role may do.

    Args:
        image: Image of the model, which the node has anyway.
        region: AWS region of the bucket; may be a CDK token.
        bucket: Name of the bucket; may be a CDK token.
        prefix: Key prefix of the model, with a trailing slash.
        seconds: How long it waits before it fails and is started again. Default: as
            long as an import may take.
    """
    return {
        "name": "wait-for-import",
        "image": image,
        "command": ["python3", "-c", wait_script()],
        "env": _variables(
            {
                "AWS_DEFAULT_REGION": region,
                "MODEL_BUCKET": bucket,
                "MODEL_MARKER": f"{prefix}{MARKER}",
                "WAIT_SECONDS": str(seconds),
            }
        ),
        # no more than the container that it makes way for
        "resources": {
            "requests": {"cpu": "100m", "memory": "256Mi"},
            "limits": {"memory": "256Mi"},
        },
        "securityContext": _RESTRICTED,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


@cache
def _module(name: str) -> str:
    return (files("eks_inference.importing") / name).read_text()


def job_modules() -> dict[str, str]:
    """Return the modules of the job, by the names of their files."""
    return {name: _module(name) for name in _MODULES}


def wait_script() -> str:
    """Return the program that waits for a marker."""
    return _module("wait.py")


_RESTRICTED: Manifest = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def _pod(importing: Importing) -> Manifest:
    return {
        "serviceAccountName": importing.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # what a failure policy needs
        "restartPolicy": "Never",
        "nodeSelector": dict(importing.node_selector),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": VLLM_USER,
            "runAsGroup": 0,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "import",
                "image": importing.image,
                "command": ["python3", "-m", "importing.job"],
                "workingDir": _FOLDER,
                "env": _environment(importing),
                "resources": {
                    "requests": {"cpu": _CPU, "memory": _MEMORY},
                    "limits": {"memory": _MEMORY},
                },
                "securityContext": _RESTRICTED,
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": [
                    {
                        "name": "importing",
                        "mountPath": f"{_FOLDER}/importing",
                        "readOnly": True,
                    }
                ],
            }
        ],
        "volumes": [
            {
                "name": "importing",
                "configMap": {"name": f"{importing.service_account}-{_PLACE}"},
            }
        ],
    }


def _environment(importing: Importing) -> list[Manifest]:
    source = importing.source
    values = {
        "AWS_DEFAULT_REGION": importing.region,
        # lines of the log as they come
        "PYTHONUNBUFFERED": "1",
        "TARGET_BUCKET": importing.bucket,
        "TARGET_PREFIX": importing.prefix,
        "SOURCE_REVISION": source.revision,
    }
    if not isinstance(source, HuggingFaceSource):
        values["SOURCE_BUCKET"] = source.bucket.bucket_name
        values["SOURCE_PREFIX"] = source.prefix
        return _variables(values)
    values["SOURCE_REPO"] = source.repo
    values["SOURCE_ENDPOINT"] = source.endpoint
    variables = _variables(values)
    if source.token is not None:
        # read by the kubelet: the token is in no template, manifest or command line
        reference = {"name": source.token.secret_name, "key": source.token.key}
        variables.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}})
    return variables


def _variables(values: Mapping[str, str]) -> list[Manifest]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _failure_policy() -> Manifest:
    return {
        "rules": [
            {
                "action": "FailJob",
                "onExitCodes": {
                    "containerName": "import",
                    "operator": "In",
                    "values": list(FINAL_CODES),
                },
            },
            # a node that goes away is no fault of the import
            {
                "action": "Ignore",
                "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
            },
        ]
    }


def _hash(content: object) -> str:
    # tokens are numbered anew whenever the app changes anywhere
    text = _TOKEN.sub("", json.dumps(content, sort_keys=True))
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]
