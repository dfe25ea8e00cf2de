"""Which arguments of a model do not go together."""

from eks_inference._check import Problems
from eks_inference.model import Model
from eks_inference.model_endpoint import ModelEndpoint
from eks_inference.model_import import ModelImport
from eks_inference.scaling import QueueScaling


def name_problems(
    image: object, namespace: object, priority_class_name: object, compile_cache: object
) -> list[str]:
    """Return what is wrong with names and the cache of a model."""
    problems = Problems()
    problems.text("image", image)
    problems.dns_label("namespace", namespace)
    if priority_class_name is not None:
        problems.dns_label("priority_class_name", priority_class_name)
    if compile_cache is not None and not hasattr(compile_cache, "claim_name"):
        problems.broken(
            "'compile_cache' must be a cache",
            compile_cache,
            "use CompileCache.from_claim_name(...)",
        )
    elif getattr(compile_cache, "namespace", None) not in {None, namespace}:
        problems.broken(
            f"'compile_cache' must have its claim in the model's namespace "
            f"({namespace!r})",
            getattr(compile_cache, "namespace", None),
        )
    return problems.messages


def weights_problems(weights: object, model: object, namespace: str) -> list[str]:
    """Return why an import does not bring the weights of a model."""
    problems = Problems()
    if weights is None or not problems.instance("weights", weights, ModelImport):
        return problems.messages
    assert isinstance(weights, ModelImport)
    if isinstance(model, Model):
        if model.prefix != weights.prefix:
            problems.broken(
                f"'prefix' of the model must be that of its 'weights' "
                f"({weights.prefix!r})",
                model.prefix,
                "pass weights.prefix",
            )
        if model.bucket.bucket_name != weights.bucket.bucket_name:
            problems.broken(
                "'bucket' of the model must be that of its 'weights' "
                f"({weights.bucket.bucket_name!r})",
                model.bucket.bucket_name,
                "pass the same one",
            )
    if weights.namespace != namespace:
        problems.broken(
            f"'weights' must be imported in the model's namespace ({namespace!r})",
            weights.namespace,
        )
    return problems.messages


def await_problems(scaling: object) -> list[str]:
    """Return why nothing could await a model's first replica."""
    problems = Problems()
    if isinstance(scaling, QueueScaling) and scaling.min_replicas == 0:
        problems.broken(
            "'await_ready' must be False for a model that can have no replica",
            True,
            "raise 'min_replicas' or leave it out",
        )
    return problems.messages


def endpoint_problems(endpoint: object, namespace: str, model: object) -> list[str]:
    """Return why an endpoint cannot lead to a model."""
    problems = Problems()
    if endpoint is None or not problems.instance(
        "shared_endpoint", endpoint, ModelEndpoint
    ):
        return problems.messages
    assert isinstance(endpoint, ModelEndpoint)
    if endpoint.namespace != namespace:
        problems.broken(
            f"'shared_endpoint' must be in the model's namespace ({namespace!r})",
            endpoint.namespace,
        )
    if isinstance(model, Model) and endpoint.served_name != model.client_name:
        problems.broken(
            f"'shared_endpoint' must serve what the model is called by clients "
            f"({model.client_name!r})",
            endpoint.served_name,
            "set the same 'served_name' on both",
        )
    return problems.messages
