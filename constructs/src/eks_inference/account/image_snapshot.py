"""A snapshot with container images that is wanted, and the tags that it gets."""

from dataclasses import dataclass, fields

from eks_inference._check import Problems
from eks_inference.account.ownership import PLATFORM_CLUSTER, STAGE_TAG, Owner
from eks_inference.planning.pool import UNPACKED_IMAGE_GIB, GpuPool

SNAPSHOT_TAG = "eks-inference:image-snapshot"
"""Tag of the snapshot, and of the instance and the volumes that it is made with; its
value is the name of the cluster."""

RELEASE_TAG = "eks-inference:bottlerocket"
"""Tag of the snapshot: the Bottlerocket release that pulled the images."""

IMAGE_TAG = "eks-inference:image."
"""Start of the tags of the snapshot that name its images, with a number each."""

DEFAULT_RELEASE = str(
    next(item.default for item in fields(GpuPool) if item.name == "ami_alias")
).removeprefix("bottlerocket@v")
"""Bottlerocket release that pulls: the one that a pool's nodes have by default."""

DEFAULT_INSTANCE_TYPE = "m5.large"
"""That of aws-samples/bottlerocket-images-cache. A pull needs no GPU: the plain variant
of Bottlerocket keeps the same data as the one with drivers (#20 there)."""

MOST_IMAGES = 20
"""A resource has at most 50 tags (EC2 user guide, Tag your resources), and what Run
Command prints is cut at 24 000 characters (Systems Manager API reference,
GetCommandInvocation). 20 stay within both; a pool needs one or two."""

_MOST_TAG_CHARACTERS = 256
"""Longest value of a tag (EC2 user guide, Tag your resources)."""

_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_NAME = r"[a-z0-9-]+(\.[a-z0-9-]+)+(:\d+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+"
_IMAGE = rf"{_NAME}(:(?!latest$){_TAG}|(:{_TAG})?@sha256:[0-9a-f]{{64}})"


def kubelet_name(image: str) -> str:
    """Return the name under which containerd keeps an image for kubelet.

    With a tag and a digest it is that of the digest alone (distribution/reference,
    ParseDockerRef, which containerd's CRI plugin calls).

    Args:
        image: Image with a registry, and a tag, a digest or both.
    """
    name, at, digest = image.partition("@")
    if not at:
        return image
    repository, _, last = name.rpartition("/")
    return f"{repository}/{last.partition(':')[0]}@{digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRequest:
    """A snapshot that is wanted.

    Args:
        images: Images with their registry, each with a digest or a tag other than
            ``latest``: nodes would otherwise not agree on what they run.
        cluster: Cluster whose nodes start from the snapshot, and among whose nodes it
            is made. Default: that of the stage.
        stage: Stage of the platform. Default: none, the cluster is of another app.
        instance_profile: Name of the instance profile whose role pulls; it needs what
            nodes have: to read the images, and to be managed by Systems Manager.
            Default: that of the stage's GPU nodes.
        bottlerocket: Bottlerocket release that pulls. Default: that of a pool's nodes.
        instance_type: Type of the instance that pulls, with x86_64.
            Default: ``m5.large``, which has no GPU, and needs none.
        volume_gib: Size of the data volume in GiB. A node's must be at least as large.
            Default: 200, what a pool gives a node whose images are on EBS.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    images: tuple[str, ...]
    cluster: str | None = None
    stage: str | None = None
    instance_profile: str | None = None
    bottlerocket: str = DEFAULT_RELEASE
    instance_type: str = DEFAULT_INSTANCE_TYPE
    volume_gib: int = UNPACKED_IMAGE_GIB

    def __post_init__(self) -> None:
        with Problems() as problems:
            if self.stage is None and self.cluster is None:
                problems.add(
                    "'stage' or 'cluster' must be given; pass for example --stage dev"
                )
            else:
                problems.attempt(lambda: self.owner)
            problems.not_empty(
                "image",
                self.images,
                repair="pass for example --image docker.io/vllm/vllm-openai:v0.33.0",
            )
            if len(self.images) > MOST_IMAGES:
                problems.broken(
                    f"'image' must be given at most {MOST_IMAGES} times",
                    len(self.images),
                    "make a snapshot for each pool",
                )
            for image in self.images:
                _check_image(problems, image)
            problems.unique("image", self.names, repair="remove one")
            if self.instance_profile is not None:
                problems.matches(
                    "instance_profile",
                    self.instance_profile,
                    r"[\w+=,.@-]{1,128}",
                    rule="the name of an instance profile",
                    repair="the name, not the ARN",
                )
            elif self.stage is None:
                problems.add(
                    "'instance_profile' must be given without a stage; pass the name "
                    "of the one that the cluster's nodes have"
                )
            problems.matches(
                "bottlerocket",
                self.bottlerocket,
                r"\d+\.\d+\.\d+",
                rule="a pinned Bottlerocket release",
                repair=f"for example {DEFAULT_RELEASE!r}",
            )
            problems.matches(
                "instance_type",
                self.instance_type,
                r"[a-z0-9-]+\.[a-z0-9-]+",
                rule="an EC2 instance type",
                repair=f"for example {DEFAULT_INSTANCE_TYPE!r}",
            )
            # gp3's bounds would allow 1 GiB, in which no image has room
            problems.integer("volume_gib", self.volume_gib, minimum=20, maximum=16_384)

    @property
    def owner(self) -> Owner:
        """The cluster, whose tags are on everything that is made."""
        cluster = self.cluster
        if cluster is None:
            cluster = PLATFORM_CLUSTER.format(stage=self.stage)
        return Owner(cluster=cluster, stage=self.stage)

    @property
    def names(self) -> tuple[str, ...]:
        """The images as kubelet looks for them."""
        return tuple(kubelet_name(image) for image in self.images)


def _check_image(problems: Problems, image: str) -> None:
    if problems.matches(
        "image",
        image,
        _IMAGE,
        rule="an image with its registry, and a tag other than 'latest' or a digest",
        repair="for example 'docker.io/vllm/vllm-openai:v0.33.0'",
    ) and len(image) > (most := _MOST_TAG_CHARACTERS):
        problems.broken(
            f"'image' must have at most {most} characters, which a tag has room for",
            image,
            "take a shorter name of the repository",
        )


def snapshot_tags(request: SnapshotRequest) -> dict[str, str]:
    """Return the tags of the snapshot: by them the next run finds it.

    Args:
        request: What is wanted.
    """
    images = {f"{IMAGE_TAG}{index}": name for index, name in enumerate(request.names)}
    return {**_common_tags(request), RELEASE_TAG: request.bottlerocket, **images}


def instance_tags(request: SnapshotRequest) -> dict[str, str]:
    """Return the tags of the instance and its volumes: by them ``sweep`` finds them.

    Args:
        request: What is wanted.
    """
    owned = f"kubernetes.io/cluster/{request.owner.cluster}"
    return {**_common_tags(request), owned: "owned"}


def _common_tags(request: SnapshotRequest) -> dict[str, str]:
    mine = {SNAPSHOT_TAG: request.owner.cluster}
    return mine if request.stage is None else {**mine, STAGE_TAG: request.stage}
