"""What an import costs beside a plain copy, and what an interrupted one repeats.

    python benchmarks/importing.py [--megabytes 512] [--repeat 3]

Hub and S3 are loopback processes of their own, so that CPU time is the job's alone:
hashing, parts, checks. Wall time is that of the loopback S3 for the most part. The
plain copy fetches each file with urllib, hands it to boto3's ``upload_fileobj``, and
checks nothing. Both take turns. Prints both as ratios to the plain copy, the share that
a second run fetches again, and how far memory grows, against the largest file.
"""

import argparse
import multiprocessing
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).parents[1]))

from eks_inference.importing import job
from eks_inference.importing.bucket import Target
from eks_inference.importing.files import ImportFailedError
from eks_inference.importing.hub import HubSource
from tests.importing.conftest import content, new_client
from tests.importing.stand_in import REPO, REVISION, Hub, refuses, serving

BUCKET = "models"


def serve(pipe: Connection, megabytes: int) -> None:
    """Serve a model with a large and a small shard; break and count when told to."""
    large, small = megabytes * 10**6, megabytes * 10**5
    held = {
        "config.json": b"{}",
        "model-1.safetensors": content(large),
        "model-2.safetensors": content(small, seed=2),
        "model.safetensors.index.json": (
            b'{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'
        ),
    }
    lfs = {path for path in held if path.endswith(".safetensors")}
    with serving(Hub(files=held, lfs=lfs)) as hub:
        pipe.send((hub.url, {path: len(data) for path, data in held.items()}))
        while order := pipe.recv():
            if order == "break":
                hub.faults["model-2.safetensors"] = [refuses(503)] * 6
            # the plain copy asks for no ranges
            spans = [re.findall(r"\d+", span) for span in hub.fetched()]
            pipe.send(sum(int(span[1]) - int(span[0]) + 1 for span in spans if span))
            hub.asked.clear()


def plain_copy(client: Any, url: str, sizes: dict[str, int]) -> None:
    """Copy every file without a check."""
    for path in sizes:
        with urlopen(f"{url}/{REPO}/resolve/{REVISION}/{path}") as response:
            client.upload_fileobj(response, BUCKET, f"plain/{path}")


def measured(run: Callable[[], None]) -> tuple[float, float]:
    """Return wall and CPU time of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def peak_megabytes() -> float:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def compare(client: Any, pipe: Connection, megabytes: int, repeat: int) -> None:
    """Run both kinds of copy in turns, then an import that is interrupted."""
    url, sizes = pipe.recv()

    def imported(prefix: str) -> None:
        source = HubSource(REPO, REVISION, endpoint=url, sleep=lambda _: None)
        job.run(source, Target(client, BUCKET, prefix), lambda _: None)

    base = peak_megabytes()
    imports, copies = [], []
    for turn in range(repeat):
        imports.append(measured(partial(imported, f"import-{turn}/")))
        if turn == 0:
            grown = peak_megabytes() - base
        copies.append(measured(lambda: plain_copy(client, url, sizes)))
    wall, cpu = (statistics.median(column) for column in zip(*imports, strict=True))
    wall_0, cpu_0 = (statistics.median(column) for column in zip(*copies, strict=True))
    total = sum(sizes.values())
    print(f"{total / 1e6:.0f} MB in {len(sizes)} files, median of {repeat}")
    print(f"import      {wall:6.2f} s wall, {total / 1e6 / wall:6.0f} MB/s")
    print(f"plain copy  {wall_0:6.2f} s wall, {total / 1e6 / wall_0:6.0f} MB/s")
    print(f"import / plain copy: wall {wall / wall_0:.2f}, CPU {cpu / cpu_0:.2f}")
    print(f"memory grows by {grown:.0f} MB; the largest file has {megabytes} MB")
    again, _ = measured(lambda: imported("import-0/"))
    pipe.send("break")
    pipe.recv()
    with suppress(ImportFailedError):
        imported("broken/")
    pipe.send("count")
    pipe.recv()
    imported("broken/")
    pipe.send("count")
    share = pipe.recv() / total
    print(f"run again when complete: {again / wall:.3f} of an import, nothing fetched")
    print(
        f"interrupted at the last file: the next run fetches {share:.3f} of the bytes"
    )
    pipe.send("")


def main() -> None:
    """Start both servers, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    # not forked: a child would begin with the memory of this process
    context = multiprocessing.get_context("spawn")
    hub = context.Process(target=serve, args=(theirs, options.megabytes), daemon=True)
    hub.start()
    with subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stderr
        address = next(
            found[0]
            for line in server.stderr
            if (found := re.search(r"http://127\.0\.0\.1:\d+", line))
        )
        # its log would fill the pipe
        multiprocessing.get_context("fork").Process(
            target=server.stderr.read, daemon=True
        ).start()
        client = new_client(address)
        client.create_bucket(
            Bucket=BUCKET,
            CreateBucketConfiguration={"LocationConstraint": "eu-central-1"},
        )
        compare(client, ours, options.megabytes, options.repeat)
        server.terminate()
    hub.join()


if __name__ == "__main__":
    main()
