"""The commands.

Exit status: 0 when the answer is yes, 1 when a model does not fit, 2 when the input is
wrong. Answers go to the standard output, also that a model does not fit; what is wrong
with the input goes to the standard error, one line for each problem.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from eks_inference._check import Problems
from eks_inference.accelerator import Accelerator
from eks_inference.cli import documents, simulate
from eks_inference.cli.image_snapshot import image_snapshot
from eks_inference.cli.inputs import (
    DOES_NOT_FIT,
    AsJson,
    Gpus,
    Length,
    Model,
    Spot,
    accelerators_of,
    checkpoint_of,
    known,
    reporting,
    show,
    write,
)
from eks_inference.cli.preflight import preflight
from eks_inference.cli.sweep import sweep
from eks_inference.planning.cold_start_ledger import cold_start
from eks_inference.planning.cold_start_presets import savings
from eks_inference.planning.cold_start_values import (
    ColdStartOptions,
    CompileCacheState,
    Snapshotter,
    Storage,
)
from eks_inference.planning.cost import Load
from eks_inference.planning.fit import Fit
from eks_inference.planning.instances import Prices, instance, instances_with
from eks_inference.planning.kernels import DEFAULT_VLLM_VERSION
from eks_inference.planning.plan import USUAL_LOAD, make_plan
from eks_inference.planning.repair import nearest, options
from eks_inference.planning.serving import capture_sizes
from eks_inference.planning.sizing import MOST_SEQUENCES
from eks_inference.scaling import QueueScaling

app = typer.Typer(
    name="eks-inference",
    help="Prove that a model fits its GPUs, how long it starts and what it costs.",
    epilog="Example: eks-inference plan mistral-7b-awq",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # plain text: a frame would break an error into lines and cut the options' help
    rich_markup_mode=None,
)

Concurrency = Annotated[
    int | None, typer.Option(help="Sequences that a replica processes at once.")
]
Release = Annotated[str, typer.Option(help="Release of vLLM.")]
WeightsGb = Annotated[
    float | None,
    typer.Option(help="Size of the weights in GB, where only a config.json is there."),
]


@app.command(
    short_help="Say which instances serve a model, or why none does.",
    epilog="Example: eks-inference fit llama-3.1-8b --gpu l4 --gpu a10g",
)
@reporting
def fit(
    model: Model,
    gpu: Gpus = None,
    max_model_len: Length = None,
    max_num_seqs: Concurrency = None,
    gpu_memory_utilization: Annotated[
        float, typer.Option(help="Share of GPU memory that vLLM may use.")
    ] = 0.9,
    kv_dtype: Annotated[
        str, typer.Option(help="Type of the KV cache: auto or fp8.")
    ] = "auto",
    vllm_version: Release = DEFAULT_VLLM_VERSION,
    weights_gb: WeightsGb = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every instance type and number of its GPUs.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say which instances serve a model, cheapest first, or why none does.

    Of each GPU the cheapest instance type is shown, unless all are asked for.
    """
    chosen, prices = accelerators_of(gpu), Prices()
    limits = {
        "max_model_len": max_model_len,
        "gpu_memory_utilization": gpu_memory_utilization,
        "kv_dtype": kv_dtype,
        "vllm_version": vllm_version,
        **({} if max_num_seqs is None else {"max_num_seqs": max_num_seqs}),
    }
    checkpoint = checkpoint_of(model, weights_gb)
    found = [
        item
        for item in options(checkpoint, **limits)
        if chosen is None or item.instance.accelerator in chosen
    ]
    if not found:
        refused = nearest(checkpoint, chosen or tuple(Accelerator), **limits)
        rows = [documents.fit_document(refused, prices)]
        show("print_refusals", rows, as_json=as_json)
        raise typer.Exit(DOES_NOT_FIT)
    shown = found if every else _cheapest_of_each(found)
    rows = [documents.fit_document(item, prices) for item in shown]
    show("print_fits", rows, as_json=as_json)


@app.command(
    short_help="Derive pool, flags, cold start and cost of a model.",
    epilog="Example: eks-inference plan mistral-7b-awq --gpu l4 --html p.html",
)
@reporting
def plan(
    model: Model,
    gpu: Gpus = None,
    gpus_per_node: Annotated[int | None, typer.Option(help="GPUs of a node.")] = None,
    gpus: Annotated[int | None, typer.Option(help="GPUs of a replica.")] = None,
    max_model_len: Length = None,
    max_num_seqs: Concurrency = None,
    min_replicas: Annotated[int, typer.Option(help="Fewest replicas.")] = 1,
    max_replicas: Annotated[int, typer.Option(help="Most replicas.")] = 10,
    requests_per_second: Annotated[
        float, typer.Option(help="Load that tokens are priced at.")
    ] = USUAL_LOAD.requests_per_second,
    prompt_tokens: Annotated[
        float, typer.Option(help="Tokens of a prompt, on average.")
    ] = USUAL_LOAD.prompt_tokens,
    answer_tokens: Annotated[
        float, typer.Option(help="Tokens of an answer, on average.")
    ] = USUAL_LOAD.answer_tokens,
    spot_ratio: Spot = None,
    vllm_version: Release = DEFAULT_VLLM_VERSION,
    weights_gb: WeightsGb = None,
    html: Annotated[
        Path | None, typer.Option(help="Write the plan as a page to this file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Derive everything from a model: pool, flags, cold start and cost."""
    prices = Prices(spot_ratio=spot_ratio)
    with Problems() as problems:
        if gpus_per_node is not None:
            problems.integer("gpus_per_node", gpus_per_node, minimum=1)
    made = make_plan(
        checkpoint_of(model, weights_gb),
        accelerators=accelerators_of(gpu),
        gpus_per_node=gpus_per_node,
        gpus=gpus,
        max_model_len=max_model_len,
        max_num_seqs=max_num_seqs,
        scaling=QueueScaling(min_replicas=min_replicas, max_replicas=max_replicas),
        load=Load(
            requests_per_second=requests_per_second,
            prompt_tokens=prompt_tokens,
            answer_tokens=answer_tokens,
        ),
        prices=prices,
        vllm_version=vllm_version,
    )
    document = documents.plan_document(made, prices)
    if html is not None:
        _write_page(html, document)
    show("print_plan", document, as_json=as_json)
    if made.problems:
        raise typer.Exit(DOES_NOT_FIT)


@app.command(epilog="Example: eks-inference instances --gpu l40s")
@reporting
def instances(
    gpu: Gpus = None, spot_ratio: Spot = None, as_json: AsJson = False
) -> None:
    """List the instance types that a pool can use."""
    prices = Prices(spot_ratio=spot_ratio)
    rows = [
        documents.instance_document(item, prices)
        for item in instances_with(accelerators_of(gpu) or tuple(Accelerator))
    ]
    show("print_instances", rows, as_json=as_json)


@app.command(
    short_help="Say how long a new replica takes to start.",
    epilog="Example: eks-inference coldstart mistral-7b-awq --instance g6.xlarge",
)
@reporting
def coldstart(
    model: Model,
    instance_name: Annotated[
        str, typer.Option("--instance", help="EC2 instance type.")
    ] = "g6.xlarge",
    snapshotter: Annotated[
        Snapshotter, typer.Option(help="What pulls the image.")
    ] = Snapshotter.SOCI_BOTTLEROCKET,
    storage: Annotated[
        Storage | None,
        typer.Option(help="Where images are unpacked. [default: NVMe, if any]"),
    ] = None,
    ebs_throughput_mib: Annotated[
        float, typer.Option(help="Throughput of the EBS volume in MiB/s.")
    ] = 1000,
    compile_cache: Annotated[
        CompileCacheState, typer.Option(help="Where compiled kernels are found.")
    ] = CompileCacheState.EFS_HIT,
    image_snapshot: Annotated[
        bool, typer.Option(help="The data volume starts with the image.")
    ] = False,
    warm_node: Annotated[
        bool, typer.Option(help="A node with the image is running.")
    ] = False,
    max_num_seqs: Annotated[
        int, typer.Option(help="Sequences at once; decides how many CUDA graphs.")
    ] = MOST_SEQUENCES,
    network_burst: Annotated[
        bool, typer.Option(help="Count with the bandwidth that AWS calls 'up to'.")
    ] = False,
    weights_gb: WeightsGb = None,
    as_json: AsJson = False,
) -> None:
    """Say how long a new replica takes to start, phase by phase, and what binds it."""
    with Problems() as problems:
        problems.integer("max_num_seqs", max_num_seqs, minimum=1, maximum=4_096)
    node = known(instance, instance_name, option="instance")
    weights = checkpoint_of(model, weights_gb)
    place = storage or (Storage.NVME if node.nvme_gb else Storage.EBS)
    if image_snapshot and storage is None:
        place = Storage.EBS
    decided = ColdStartOptions(
        snapshotter=snapshotter,
        storage=place,
        ebs_throughput_mib=ebs_throughput_mib,
        compile_cache=compile_cache,
        image_snapshot=image_snapshot,
        warm_node=warm_node,
        network_burst=network_burst,
        capture_sizes=capture_sizes(max_num_seqs),
    )
    values: dict[str, Any] = {
        "instance": node,
        "weight_bytes": weights.weight_bytes,
        "files": weights.files,
        "options": decided,
    }
    document = {
        "model": weights.name,
        "instance": node.name,
        **documents.cold_start_document(cold_start(**values), savings(**values)),
    }
    show("print_cold_start", document, as_json=as_json)


app.command(
    short_help="Replay a trace against a model on its pool.",
    epilog="Example: eks-inference simulate --policy guide --html run.html",
)(simulate.simulate)
app.command(
    short_help="Replay a trace with several policies, and compare them.",
    epilog="Example: eks-inference compare --policies queue,guide --seeds 2",
)(simulate.compare)
app.command(
    short_help="Say whether an account has what a deployment needs.",
    epilog="Example: eks-inference preflight cdk.out",
)(preflight)
app.command(
    short_help="List what a deleted cluster has left, and delete it if told so.",
    epilog="Example: eks-inference sweep --stage dev --region us-east-1",
)(sweep)
app.command(
    short_help="Make a snapshot with container images, for nodes that start fast.",
    epilog="Example: eks-inference image-snapshot --stage dev "
    "--image docker.io/vllm/vllm-openai:v0.33.0",
)(image_snapshot)


def main() -> None:
    """Run the command line."""
    app()


def _cheapest_of_each(found: Sequence[Fit]) -> list[Fit]:
    # they are sorted by price
    first: dict[Accelerator, Fit] = {}
    for item in found:
        first.setdefault(item.instance.accelerator, item)
    return list(first.values())


def _write_page(path: Path, document: documents.Document) -> None:
    from eks_inference.cli.page import page  # noqa: PLC0415

    write(path, page(document), option="html")
