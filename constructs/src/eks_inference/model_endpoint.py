"""One address for several models that clients know by one name."""

from constructs import Construct

from eks_inference._check import Problems
from eks_inference._cluster import AnyCluster, apply, cluster_problems, facts
from eks_inference.guardrails import path_of, place
from eks_inference.manifests.endpoint import endpoint_service
from eks_inference.manifests.serving import PORT
from eks_inference.model import model_name_problems, served_name_problems


class ModelEndpoint(Construct):
    """A Service in front of every ready replica of the models that share it.

    For a new version that takes over from an old one, and for one model in two pools.
    Each model scales on its own replicas; clients see one address. Requests go to
    whatever replica is ready, so that models share an endpoint only where an answer of
    the one is as good as an answer of the other.

    Args:
        cluster: Cluster with a kubectl provider.
        name: Name of the Service.
        served_name: Name that clients send as ``model``. Default: ``name``.
        namespace: Namespace of the Service and of the models. Default: ``inference``.

    Raises:
        ConfigurationError: Values break rules; all of them are named, and nothing was
            defined.

    Example:
        ```python
        endpoint = ModelEndpoint(stack, "Endpoint", cluster=cluster, name="chat")
        versions = {"chat-1": "models/chat/1/", "chat-2": "models/chat/2/"}
        for name, prefix in versions.items():
            QueueScaledModel(
                stack,
                name,
                pool=pool,
                model=Model.from_bucket(
                    store,
                    prefix,
                    name=name,
                    served_name="chat",
                    weights_gb=4.15,
                    max_model_len=8192,
                ),
                scaling=QueueScaling(max_replicas=5),
                shared_endpoint=endpoint,
                await_ready=True,
            )
        ```
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        cluster: AnyCluster,
        name: str,
        served_name: str | None = None,
        namespace: str = "inference",
    ) -> None:
        with Problems(f"endpoint {id!r}") as problems:
            problems.include(cluster_problems(cluster))
            problems.include(model_name_problems(name))
            problems.include(served_name_problems(served_name))
            problems.dns_label("namespace", namespace)
        report, scope_path = place(scope)
        # a Service, whose name a model's own Service must not have
        report.claim(
            path_of(scope_path, id), "model", facts(cluster).key, namespace, name
        )
        super().__init__(scope, id)
        self._name = name
        self._served_name = name if served_name is None else served_name
        self._namespace = namespace
        self._manifest = apply(
            self,
            "Resource",
            cluster=cluster,
            manifests=[endpoint_service(name=name, namespace=namespace)],
        )

    @property
    def name(self) -> str:
        """Name of the Service."""
        return self._name

    @property
    def served_name(self) -> str:
        """Name that clients send as ``model``."""
        return self._served_name

    @property
    def namespace(self) -> str:
        """Namespace of the Service."""
        return self._namespace

    @property
    def endpoint(self) -> str:
        """Address of the OpenAI-compatible API inside the cluster."""
        return f"http://{self._name}.{self._namespace}.svc:{PORT}/v1"

    @property
    def manifest(self) -> Construct:
        """The resource that applies the Service."""
        return self._manifest
