"""Which settings of a model are refused."""

from collections.abc import Callable

from eks_inference._check import ConfigurationError, Problems
from eks_inference.activation import GatewayActivation, schedule_problems
from eks_inference.model import model_problems
from eks_inference.planning.catalogue import checkpoint
from eks_inference.scaling import scaling_problems
from eks_inference.secret_key import SecretKey
from infra.settings import ModelSettings


def model_settings_problems(model: ModelSettings) -> list[str]:
    """Return what is wrong with a model alone, by the names of the settings.

    Args:
        model: Settings whose values are of their kinds.
    """
    problems = Problems()
    found = None
    if model.checkpoint != "":
        try:
            found = checkpoint(model.checkpoint)
        except ConfigurationError as error:
            # what the catalogue calls a name is the checkpoint here
            return [
                message.replace("'name'", "'checkpoint'", 1)
                for message in error.problems
            ]
    problems.include(
        model_problems(
            name=model.name,
            prefix=model.prefix,
            checkpoint=found,
            weights_gb=model.weights_gb,
            max_model_len=model.max_model_len,
            max_num_seqs=model.max_num_seqs,
            gpus=model.gpus,
            gpu_memory_utilization=model.gpu_memory_utilization,
            cpu=model.cpu,
            memory_gib=model.memory_gib,
            served_name=None if model.served_name == "" else model.served_name,
        )
    )
    problems.include(
        scaling_problems(
            min_replicas=model.min_replicas,
            max_replicas=model.max_replicas,
            waiting_weight=model.waiting_weight,
            target_share=model.target_share,
        )
    )
    if model.min_replicas == 0 and not model.can_wake:
        problems.broken(
            "'min_replicas' must be at least 1 without a 'schedule', 'on_request', "
            "'jobs_queue_arn' or 'gateway_query'",
            0,
            "the metrics come from the pods, so nothing would ever start the first one",
        )
    problems.include(_wake_problems(model))
    if model.schedule is not None:
        window = model.schedule
        problems.include(
            schedule_problems(
                timezone=window.timezone,
                start=window.start,
                end=window.end,
                replicas=window.replicas,
            )
        )
        if isinstance(window.replicas, int) and isinstance(model.max_replicas, int):
            problems.integer(
                "schedule.replicas",
                window.replicas,
                maximum=model.max_replicas,
                repair="lower it or raise 'max_replicas'",
            )
    return problems.messages


def _wake_problems(model: ModelSettings) -> list[str]:
    problems = Problems()
    if model.on_request != "":
        problems.one_of("on_request", model.on_request, ("hold", "retry"))
    if model.jobs_queue_arn != "":
        problems.matches(
            "jobs_queue_arn",
            model.jobs_queue_arn,
            r"arn:aws[a-z-]*:sqs:[a-z0-9-]+:\d{12}:[\w-]{1,80}(\.fifo)?",
            rule="the ARN of an SQS queue",
            repair="arn:aws:sqs:<region>:<account>:<name>",
        )
    if model.gateway_query != "":
        problems.include(
            _renamed(
                lambda: GatewayActivation(query=model.gateway_query),
                "activation: 'query'",
                "'gateway_query'",
            )
        )
    if model.hugging_face != "":
        problems.matches(
            "hugging_face",
            model.hugging_face,
            r"[\w.-]+/[\w.-]+@[0-9a-f]{40}",
            rule="a repository of the Hub at a commit, as owner/name@<40 hex digits>",
            repair="a branch moves, and replicas would serve different weights",
        )
    if model.hugging_face_secret != "":
        problems.include(
            _renamed(
                lambda: SecretKey(model.hugging_face_secret),
                "secret: 'secret_name'",
                "'hugging_face_secret'",
            )
        )
    if model.api_key_secret != "":
        problems.include(
            _renamed(
                lambda: SecretKey(model.api_key_secret),
                "secret: 'secret_name'",
                "'api_key_secret'",
            )
        )
    return problems.messages


def _renamed(make: Callable[[], object], theirs: str, ours: str) -> list[str]:
    """Return what the library says of a value, by its name in the settings."""
    try:
        make()
    except ConfigurationError as error:
        return [message.replace(theirs, ours, 1) for message in error.problems]
    return []
