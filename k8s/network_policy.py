"""Network policies, and what their rules are made of."""

from eks_inference.manifests import Manifest


def policy(
    namespace: str,
    name: str,
    pods: dict[str, str],
    types: list[str],
    *,
    ingress: list[Manifest] | None = None,
    egress: list[Manifest] | None = None,
) -> Manifest:
    """Return a network policy for the pods of a namespace that have some labels."""
    spec: Manifest = {
        "podSelector": {"matchLabels": pods} if pods else {},
        "policyTypes": types,
    }
    if ingress is not None:
        spec["ingress"] = ingress
    if egress is not None:
        spec["egress"] = egress
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def namespace(name: str) -> Manifest:
    """Return the peer that is every pod of a namespace."""
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def namespaces_with(label: str) -> Manifest:
    """Return the peer that is every pod of the namespaces with a label set to true."""
    return {"namespaceSelector": {"matchLabels": {label: "true"}}}


def network(cidr: str) -> Manifest:
    """Return the peer that is a network, such as the control plane's."""
    return {"ipBlock": {"cidr": cidr}}


def tcp(number: int) -> Manifest:
    """Return a TCP port."""
    return port("TCP", number)


def port(protocol: str, number: int) -> Manifest:
    """Return a port."""
    return {"protocol": protocol, "port": number}
