"""An EBS snapshot that brings images to a node."""

from dataclasses import dataclass

from eks_inference._check import Problems

SNAPSHOT_ID = r"snap-[0-9a-f]{8}([0-9a-f]{9})?"
"""Form of an id: 17 digits, and 8 in old ones (Amazon EC2 user guide, resource ids)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSnapshot:
    """A snapshot of Bottlerocket's data volume with images on it.

    Args:
        snapshot_id: Id of the snapshot, in the region of the pool. It was taken of a
            node with Bottlerocket's default snapshotter, as
            ``eks-inference image-snapshot`` does: another one does not find the images.
        initialization_mib_per_second: Rate at which EBS brings the snapshot's blocks to
            a new volume, 100 to 300 MiB/s (Amazon EBS user guide, volume
            initialization), at a price for each GiB. Default: 300. None leaves it to
            EBS, which is for a snapshot with fast snapshot restore: without either, a
            block comes when it is first read, and a start from a 15 GB image took more
            than ten minutes (aws-samples/bottlerocket-images-cache#13).

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.

    Example:
        ```python
        GpuInferencePool(
            stack,
            "Fast",
            cluster=cluster,
            image_snapshot=ImageSnapshot(snapshot_id="snap-0123456789abcdef0"),
        )
        ```
    """

    snapshot_id: str
    initialization_mib_per_second: int | None = 300

    def __post_init__(self) -> None:
        with Problems("image snapshot") as problems:
            problems.matches(
                "snapshot_id",
                self.snapshot_id,
                SNAPSHOT_ID,
                rule="the id of an EBS snapshot",
                repair="'eks-inference image-snapshot' makes one and prints its id",
            )
            if self.initialization_mib_per_second is not None:
                problems.integer(
                    "initialization_mib_per_second",
                    self.initialization_mib_per_second,
                    minimum=100,
                    maximum=300,
                )
