"""What the queries of a dashboard select: models, their pods, and pools of nodes."""

from dataclasses import dataclass

from eks_inference import metric_names as names
from eks_inference.dashboards.values import Variable
from eks_inference.model import KEDA_HPA_PREFIX


@dataclass(frozen=True, slots=True)
class Scope:
    """Regular expressions for the models whose series are read.

    The name of a model is that of its Kubernetes objects. It is in ``job`` where the
    Prometheus operator scrapes by a PodMonitor, so that the same choice selects the
    series of vLLM and those of Kubernetes, also of a model that has no replica now.

    Args:
        namespace: Namespaces.
        model: Names of the models.
        served_name: The one name under which clients ask for the model, or None for
            every name. Default: None.
    """

    namespace: str
    model: str
    served_name: str | None = None

    @property
    def series(self) -> str:
        """Selector of vLLM's series."""
        job = f'job=~"({self.namespace})/({self.model})"'
        if self.served_name is None:
            return job
        return f'{job},model_name="{_quoted(self.served_name)}"'

    @property
    def pods(self) -> str:
        """Selector of the pods' series; a Deployment adds two parts to the name."""
        return f'namespace=~"{self.namespace}",pod=~"({self.model})-[^-]+-[^-]+"'

    @property
    def deployments(self) -> str:
        """Selector of the Deployments' series."""
        return f'namespace=~"{self.namespace}",deployment=~"{self.model}"'

    @property
    def autoscalers(self) -> str:
        """Selector of the series of the autoscalers that KEDA makes."""
        hpa = f'horizontalpodautoscaler=~"{KEDA_HPA_PREFIX}({self.model})"'
        return f'namespace=~"{self.namespace}",{hpa}'

    @property
    def scaled_objects(self) -> str:
        """Selector of KEDA's series; its chart keeps the object's namespace."""
        return f'namespace=~"{self.namespace}",scaledObject=~"{self.model}"'


CHOSEN = Scope("$namespace", "$model")
"""The models that the reader chooses."""

POOL = "$pool"
"""The pools that the reader chooses."""

# from the autoscalers, which exist also while a model has no replica
NAMESPACE_VARIABLE = Variable(
    "namespace",
    "Namespace",
    f"label_values({names.HPA_MAX_REPLICAS}"
    f'{{horizontalpodautoscaler=~"{KEDA_HPA_PREFIX}.+"}}, namespace)',
)
MODEL_VARIABLE = Variable(
    "model",
    "Model",
    f"label_values({names.HPA_MAX_REPLICAS}"
    f'{{namespace=~"$namespace",horizontalpodautoscaler=~"{KEDA_HPA_PREFIX}.+"}}, '
    "horizontalpodautoscaler)",
    regex=f"/^{KEDA_HPA_PREFIX}(.+)$/",
)
POOL_VARIABLE = Variable(
    "pool", "Pool", f"label_values({names.NODEPOOL_LIMIT}, nodepool)"
)


def of_model(expression: str) -> str:
    """Return an expression whose series also have the label ``model``.

    Args:
        expression: An expression with the names of the autoscalers that KEDA makes.
    """
    hpa = "horizontalpodautoscaler"
    return (
        f'label_replace({expression}, "model", "$1", "{hpa}", "{KEDA_HPA_PREFIX}(.+)")'
    )


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
