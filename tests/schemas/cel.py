"""The rules of the custom resources that a schema cannot state."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import cel

Spec = Mapping[str, Any]

NUMERIC = ("Gt", "Gte", "Lt", "Lte")
AMI_FAMILIES = {
    family.lower(): family
    for family in (
        *("AL2", "AL2023", "Bottlerocket"),
        *("Windows2019", "Windows2022", "Windows2025"),
    )
}
# Labels below Karpenter's own domains that a user may set or select by.
KARPENTER_LABELS = re.compile(
    r"""karpenter\.sh/capacity-type
    | karpenter\.k8s\.aws/(
        ec2nodeclass
      | capacity-reservation-(id|interruptible|type)
      | placement-group-(id|partition)
      | instance-(
            (accelerator|gpu)-(count|manufacturer|name) | gpu-memory
          | cpu(-manufacturer|-sustained-clock-speed-mhz)? | memory
          | (ebs|network)-bandwidth | encryption-in-transit-supported
          | capability-flex | category | family | generation | hypervisor
          | local-nvme | size | tenancy
        )
    )""",
    re.VERBOSE,
)
RESERVABLE = {"cpu", "memory", "ephemeral-storage", "pid"}
OWNED_TAGS = {
    "eks:eks-cluster-name",
    *("karpenter.sh/nodepool", "karpenter.sh/nodeclaim"),
    "karpenter.k8s.aws/ec2nodeclass",
}


def own_rules(manifest: Mapping[str, Any]) -> Iterator[str]:
    """The rules of the upstream CRDs that matter here, re-expressed.

    The npm packages drop x-kubernetes-validations, so these stand in for them.
    """
    check = CHECKS.get(manifest["kind"])
    if check:
        yield from check(manifest.get("spec", {}))


def declared_rules(
    schema: Mapping[str, Any], value: Any, at: str = ""
) -> Iterator[str]:
    """The x-kubernetes-validations of a CRD's schema, evaluated."""
    for rule in schema.get("x-kubernetes-validations", ()):
        if "oldSelf" in rule["rule"]:
            continue  # compares with an earlier version: holds for every new object
        if not _holds(rule["rule"], value):
            yield f"{at}: {rule.get('message', rule['rule'])}"
    for key, item in value.items() if isinstance(value, Mapping) else ():
        rest = schema.get("additionalProperties") or {}
        part = schema.get("properties", {}).get(key, rest)
        yield from declared_rules(part, item, f"{at}.{key}".lstrip("."))
    for index, item in enumerate(value if isinstance(value, list) else ()):
        yield from declared_rules(schema.get("items", {}), item, f"{at}[{index}]")


@cache
def _program(rule: str) -> cel.Program:
    return cel.compile(rule)


def _find(text: str, pattern: str) -> str:
    match = re.search(pattern, text)
    return match.group() if match else ""


def _holds(rule: str, value: Any) -> bool:
    # find and split are Kubernetes' additions to the language
    functions: dict[str, Callable[..., Any]] = {"find": _find, "split": str.split}
    try:
        return _program(rule).execute(cel.Context({"self": value}, functions)) is True
    except (KeyError, RuntimeError, TypeError, ValueError):
        return False  # as in an API server, a rule that cannot be evaluated fails


def _node_pool(spec: Spec) -> Iterator[str]:
    if "replicas" in spec:
        if spec.get("limits", {}).keys() - {"nodes"}:
            yield "spec.limits: with replicas, only nodes can be limited"
        if "weight" in spec:
            yield "spec.weight: has no meaning with replicas"
    for i, budget in enumerate(spec.get("disruption", {}).get("budgets", ())):
        if ("schedule" in budget) != ("duration" in budget):
            yield f"spec.disruption.budgets[{i}]: schedule and duration go together"
    template = spec["template"]
    for label in template.get("metadata", {}).get("labels", {}):
        yield from _label(f"spec.template.metadata.labels.{label}", label)
    for name, value in template["spec"]["nodeClassRef"].items():
        if not value:
            yield f"spec.template.spec.nodeClassRef.{name}: is empty"
    for i, requirement in enumerate(template["spec"]["requirements"]):
        at = f"spec.template.spec.requirements[{i}]"
        operator, values = requirement["operator"], requirement.get("values", ())
        yield from _label(f"{at}.key", requirement["key"])
        if operator == "In" and not values:
            yield f"{at}.values: In needs at least one value"
        if operator == "In" and len(values) < requirement.get("minValues", 0):
            yield f"{at}.minValues: exceeds the number of values"
        if operator in NUMERIC and not (len(values) == 1 and values[0].isdecimal()):
            yield f"{at}.values: {operator} needs exactly one whole number"


def _label(at: str, label: str) -> Iterator[str]:
    domain, _, _ = label.partition("/")
    restricted = domain.endswith(("karpenter.sh", "karpenter.k8s.aws"))
    if label == "kubernetes.io/hostname" or (
        restricted and not KARPENTER_LABELS.fullmatch(label)
    ):
        yield f"{at}: label {label} is restricted"


def _node_class(spec: Spec) -> Iterator[str]:
    if ("role" in spec) == ("instanceProfile" in spec):
        yield "spec: exactly one of role and instanceProfile is required"
    for name in ("role", "instanceProfile"):
        if spec.get(name) == "":
            yield f"spec.{name}: is empty"
    yield from _images(spec)
    any_of = ("tags", "id", "name", "instanceMatchCriteria")
    for field in ("subnet", "securityGroup", "capacityReservation"):
        name = f"{field}SelectorTerms"
        terms = spec.get(name, ())
        if name in spec and not terms and field != "capacityReservation":
            yield f"spec.{name}: needs at least one term"
        for i, term in enumerate(terms):
            yield from _term(f"spec.{name}[{i}]", term, any_of, alone=("id",))
    mappings = spec.get("blockDeviceMappings", ())
    if sum(mapping.get("rootVolume", False) for mapping in mappings) > 1:
        yield "spec.blockDeviceMappings: only one can be the rootVolume"
    for i, mapping in enumerate(mappings):
        ebs = mapping.get("ebs", {"volumeSize": ""})
        if not ebs.keys() & {"volumeSize", "snapshotID"}:
            yield f"spec.blockDeviceMappings[{i}].ebs: needs volumeSize or snapshotID"
        if "volumeInitializationRate" in ebs and not ebs.get("snapshotID"):
            yield f"spec.blockDeviceMappings[{i}].ebs: the rate needs a snapshotID"
    for tag in spec.get("tags", {}):
        if not tag or tag in OWNED_TAGS or tag.startswith("kubernetes.io/cluster"):
            yield f"spec.tags: tag {tag!r} is restricted"
    for name in ("kubeReserved", "systemReserved"):
        for key, amount in spec.get("kubelet", {}).get(name, {}).items():
            if key not in RESERVABLE or amount.startswith("-"):
                yield f"spec.kubelet.{name}.{key}: cannot be reserved"


def _images(spec: Spec) -> Iterator[str]:
    terms, family = spec["amiSelectorTerms"], spec.get("amiFamily")
    aliases = [term["alias"] for term in terms if "alias" in term]
    any_of = ("tags", "id", "name", "alias", "ssmParameter")
    for i, term in enumerate(terms):
        at = f"spec.amiSelectorTerms[{i}]"
        yield from _term(at, term, any_of, alone=("id", "alias"))
    if aliases and len(terms) > 1:
        yield "spec.amiSelectorTerms: an alias must be the only term"
    if not aliases and family is None:
        yield "spec.amiFamily: required without an alias"
    for alias in aliases:
        name, _, version = alias.partition("@")
        if name not in AMI_FAMILIES or not version:
            yield f"spec.amiSelectorTerms: alias {alias} is not family@version"
        elif name.startswith("windows") and version != "latest":
            yield f"spec.amiSelectorTerms: alias {alias} must be {name}@latest"
        elif family not in (None, "Custom", AMI_FAMILIES[name]):
            yield f"spec.amiFamily: {family} does not fit the alias {alias}"


def _term(
    at: str, term: Spec, any_of: tuple[str, ...], *, alone: tuple[str, ...]
) -> Iterator[str]:
    if not term.keys() & set(any_of):
        yield f"{at}: selects nothing"
    for name in alone:
        if name in term and len(term) > 1:
            yield f"{at}.{name}: cannot be combined with other fields"
    for key, value in term.get("tags", {}).items():
        if not key or not value:
            yield f"{at}.tags: tag {key!r} has an empty key or value"


def _scaled_object(spec: Spec) -> Iterator[str]:
    default = 100  # KEDA's maxReplicaCount when none is given
    if spec.get("minReplicaCount", 0) > spec.get("maxReplicaCount", default):
        yield "spec.minReplicaCount: exceeds maxReplicaCount"


CHECKS: Mapping[str, Callable[[Spec], Iterator[str]]] = {
    "NodePool": _node_pool,
    "EC2NodeClass": _node_class,
    "ScaledObject": _scaled_object,
}
