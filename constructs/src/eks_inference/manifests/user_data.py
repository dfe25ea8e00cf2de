"""Bottlerocket settings of a GPU node, as the TOML that EC2 user data carries."""

_SOCI_PARALLEL_PULL = """\
[settings.container-runtime]
snapshotter = "soci"

[settings.container-runtime-plugins.soci-snapshotter]
pull-mode = "parallel-pull-unpack"

[settings.container-runtime-plugins.soci-snapshotter.parallel-pull-unpack]
max-concurrent-downloads-per-image = 20
concurrent-download-chunk-size = "16mb"
max-concurrent-unpacks-per-image = 12
discard-unpacked-layers = true
"""


def gpu_node_user_data() -> str:
    """Return the user data of a GPU node.

    The SOCI snapshotter pulls and unpacks the layers of an image in parallel. It does
    not load lazily on Bottlerocket: a container starts when its whole image is there.
    Karpenter adds the cluster's own settings and the set-up of the instance store.
    """
    return _SOCI_PARALLEL_PULL
