"""Settings of the platform that are refused."""

from infra.settings import ObservabilitySettings, Settings
from tests.app.good_settings import (
    ACCOUNT_RULE,
    ADMIN,
    ADMIN_RULE,
    CIDR_RULE,
    CONTROLLERS,
    FEW_ZONES,
    LABEL,
    PRIVATE_REPAIR,
    PRIVATE_RULE,
    PUBLIC_REPAIR,
    PUBLIC_RULE,
    SERVICES,
    SYSTEM_REPAIR,
    SYSTEM_RULE,
    image,
    network,
    nodes,
    stage,
)

BAD_PLATFORM: dict[str, tuple[Settings, str]] = {
    # the stage
    "stage not a label": (
        stage(stage="Good_1"),
        f"'stage' must be a DNS label of at most 20 characters {LABEL}, got 'Good_1'",
    ),
    "stage with two dashes": (
        stage(stage="a--b"),
        (
            "'stage' must have no two dashes in a row, got 'a--b'; it begins the names "
            "of repositories, where ECR takes one"
        ),
    ),
    "stage too long": (
        stage(stage="a" * 21),
        (
            f"'stage' must be a DNS label of at most 20 characters {LABEL}, "
            f"got '{'a' * 21}'"
        ),
    ),
    "account not an id": (
        stage(account="1111", region="us-east-1"),
        f"{ACCOUNT_RULE}, got '1111'",
    ),
    "account a number": (
        stage(account=111122223333, region="us-east-1"),
        f"{ACCOUNT_RULE}, got 111122223333",
    ),
    "account without region": (
        stage(account="111122223333"),
        (
            "'account' and 'region' must be given together or not at all, "
            "got '111122223333' and None; add the other one"
        ),
    ),
    "region without account": (
        stage(region="us-east-1"),
        (
            "'account' and 'region' must be given together or not at all, "
            "got None and 'us-east-1'; add the other one"
        ),
    ),
    "region a zone": (
        stage(account="111122223333", region="us-east-1a"),
        "'region' must be an AWS region, got 'us-east-1a'; for example 'us-east-1'",
    ),
    "kubernetes unknown": (
        stage(kubernetes_version="1.28"),
        (
            "'kubernetes_version' must be one of '1.29', '1.33', '1.34', '1.35', "
            "got '1.28'; or add a row to infra/versions.py"
        ),
    ),
    "kubernetes a number": (
        stage(kubernetes_version=1.35),
        (
            "'kubernetes_version' must be one of '1.29', '1.33', '1.34', '1.35', "
            "got 1.35; or add a row to infra/versions.py"
        ),
    ),
    "retain a text": (
        stage(retain="no"),
        "'retain' must be True or False, got 'no'",
    ),
    "cache switch a number": (
        stage(shared_compile_cache=1),
        "'shared_compile_cache' must be True or False, got 1",
    ),
    "docker hub secret elsewhere": (
        stage(docker_hub_secret="docker-hub"),
        (
            "'docker_hub_secret' must be the name of a secret that begins with "
            "'ecr-pullthroughcache/', got 'docker-hub'"
        ),
    ),
    "observability of another kind": (
        stage(observability=True),
        "'observability' must be of class ObservabilitySettings, got True",
    ),
    "addresses without brackets": (
        stage(observability=ObservabilitySettings(emails="a@b.c")),  # type: ignore[arg-type]
        "'emails' must be a list or tuple, got 'a@b.c'; put it in brackets",
    ),
    "address that is none": (
        stage(observability=ObservabilitySettings(emails=("on-call",))),
        (
            "observability: 'emails' must be addresses of e-mail, got 'on-call'; for "
            "example 'on-call@example.com'"
        ),
    ),
    "address twice": (
        stage(observability=ObservabilitySettings(emails=("a@b.cc", "a@b.cc"))),
        (
            "observability: 'emails' must not name anything twice, got 'a@b.cc'; "
            "remove one"
        ),
    ),
    "grafana that has nothing to read": (
        stage(observability=ObservabilitySettings(managed_grafana=True)),
        (
            "observability: 'managed_grafana' must be False without "
            "'managed_prometheus', which it reads, got True; set both"
        ),
    ),
    "workspace that is no flag": (
        stage(observability=ObservabilitySettings(managed_prometheus="yes")),  # type: ignore[arg-type]
        "observability: 'managed_prometheus' must be True or False, got 'yes'",
    ),
    "signal that is not known": (
        stage(signal="cpu"),
        "'signal' must be one of 'prometheus', 'otel-scaler', got 'cpu'",
    ),
    "admin not an ARN": (
        stage(admin_role_arns=("Admin",)),
        f"{ADMIN_RULE}, got 'Admin'; for example {ADMIN}",
    ),
    "admin an account": (
        stage(admin_role_arns=("arn:aws:iam::111122223333:root",)),
        (f"{ADMIN_RULE}, got 'arn:aws:iam::111122223333:root'; for example {ADMIN}"),
    ),
    "admin twice": (
        stage(admin_role_arns=(ADMIN.strip("'"),) * 2),
        f"'admin_role_arns' must not name anything twice, got {ADMIN}; remove one",
    ),
    "API open to a private network": (
        stage(public_access_cidrs=("10.0.0.0/16",)),
        f"{PUBLIC_RULE}, got '10.0.0.0/16'; {PUBLIC_REPAIR}",
    ),
    "API open to this machine": (
        stage(public_access_cidrs=("127.0.0.0/16",)),
        f"{PUBLIC_RULE}, got '127.0.0.0/16'; {PUBLIC_REPAIR}",
    ),
    "API open by netmask": (
        stage(public_access_cidrs=("8.8.4.0/255.255.255.0",)),
        (
            "'public_access_cidrs' must be networks of the form 'a.b.c.d/24', "
            "got '8.8.4.0/255.255.255.0'"
        ),
    ),
    "API open to everyone": (
        stage(public_access_cidrs=("0.0.0.0/0",)),
        (
            "'public_access_cidrs' must be /8 or smaller, got '0.0.0.0/0'; "
            "name the networks that you administer from"
        ),
    ),
    "API open to no network": (
        stage(public_access_cidrs=("office",)),
        "'public_access_cidrs' must be networks of the form 'a.b.c.d/24', got 'office'",
    ),
    # the network
    "CIDR too large": (
        network(cidr="10.0.0.0/8"),
        (
            "network: 'cidr' must be /16 to /20, got '10.0.0.0/8'; "
            "every pod needs an address of it"
        ),
    ),
    "CIDR too small": (
        network(cidr="10.0.0.0/24"),
        (
            "network: 'cidr' must be /16 to /20, got '10.0.0.0/24'; "
            "every pod needs an address of it"
        ),
    ),
    "CIDR public": (
        network(cidr="8.8.0.0/16"),
        f"{PRIVATE_RULE}, got '8.8.0.0/16'; {PRIVATE_REPAIR}",
    ),
    "CIDR of this machine": (
        network(cidr="127.0.0.0/16"),
        f"{PRIVATE_RULE}, got '127.0.0.0/16'; {PRIVATE_REPAIR}",
    ),
    "CIDR of a link": (
        network(cidr="169.254.0.0/16"),
        f"{PRIVATE_RULE}, got '169.254.0.0/16'; {PRIVATE_REPAIR}",
    ),
    "CIDR of carriers": (
        network(cidr="100.64.0.0/16"),
        f"{PRIVATE_RULE}, got '100.64.0.0/16'; {PRIVATE_REPAIR}",
    ),
    "CIDR of nobody": (
        network(cidr="240.0.0.0/16"),
        f"{PRIVATE_RULE}, got '240.0.0.0/16'; {PRIVATE_REPAIR}",
    ),
    "CIDR beside a private one": (
        network(cidr="172.32.0.0/16"),
        f"{PRIVATE_RULE}, got '172.32.0.0/16'; {PRIVATE_REPAIR}",
    ),
    "CIDR with a netmask": (
        network(cidr="10.0.0.0/255.255.0.0"),
        f"{CIDR_RULE}, got '10.0.0.0/255.255.0.0'",
    ),
    "CIDR of IPv6": (
        network(cidr="fd00::/16"),
        f"{CIDR_RULE}, got 'fd00::/16'",
    ),
    "CIDR with host bits": (
        network(cidr="10.0.0.1/16"),
        f"{CIDR_RULE}, got '10.0.0.1/16'",
    ),
    "CIDR a word": (
        network(cidr="default"),
        f"{CIDR_RULE}, got 'default'",
    ),
    "CIDR missing": (
        network(cidr=None),
        f"{CIDR_RULE}, got None",
    ),
    "one zone": (
        network(zones=1),
        "network: 'zones' must be 2 to 6, got 1",
    ),
    "seven zones": (
        network(zones=7),
        "network: 'zones' must be 2 to 6, got 7",
    ),
    "no NAT": (
        network(nat_gateways=0),
        f"network: 'nat_gateways' must be 1 to 3, got 0; {FEW_ZONES}",
    ),
    "more NAT than zones": (
        network(nat_gateways=4),
        f"network: 'nat_gateways' must be 1 to 3, got 4; {FEW_ZONES}",
    ),
    "zone names do not match": (
        network(availability_zones=("us-east-1a", "us-east-1b")),
        "network: 'availability_zones' must name 'zones' (3) zones, got 2",
    ),
    "zone named twice": (
        network(zones=2, availability_zones=("us-east-1a", "us-east-1a")),
        (
            "network: 'availability_zones' must not name anything twice, "
            "got 'us-east-1a'; remove one"
        ),
    ),
    "endpoint unknown": (
        network(interface_endpoints=("bedrock",)),
        f"network: 'interface_endpoints' must be one of {SERVICES}, got 'bedrock'",
    ),
    "endpoint twice": (
        network(interface_endpoints=("sts", "sts")),
        (
            "network: 'interface_endpoints' must not name anything twice, got 'sts'; "
            "remove one"
        ),
    ),
    # the image and the nodes of the controllers
    "image elsewhere": (
        image(repository="public.ecr.aws/vllm:v1"),
        (
            "image: 'repository' must be a repository without registry and tag, "
            "got 'public.ecr.aws/vllm:v1'; for example 'deep-learning-containers/vllm'"
        ),
    ),
    "tag latest": (
        image(tag="latest"),
        (
            "image: 'tag' must be pinned, got 'latest'; nodes that start on different "
            "days would run different versions"
        ),
    ),
    "tag not a tag": (
        image(tag="0.31:gpu"),
        "image: 'tag' must be an image tag, got '0.31:gpu'",
    ),
    "digest too short": (
        image(digest="sha256:abc"),
        "image: 'digest' must be 'sha256:' and 64 hex digits, got 'sha256:abc'",
    ),
    "instance type unknown": (
        nodes(instance_type="large"),
        f"{SYSTEM_RULE}, got 'large'; {SYSTEM_REPAIR}",
    ),
    "instance type of arm64": (
        nodes(instance_type="m7g.large"),
        f"{SYSTEM_RULE}, got 'm7g.large'; {SYSTEM_REPAIR}",
    ),
    "instance type of arm64 with disks": (
        nodes(instance_type="c6gd.xlarge"),
        f"{SYSTEM_RULE}, got 'c6gd.xlarge'; {SYSTEM_REPAIR}",
    ),
    "one system node": (
        nodes(count=1),
        f"system_nodes: 'count' must be 2 to 20, got 1; {CONTROLLERS}",
    ),
    "too many system nodes": (
        nodes(count=21),
        f"system_nodes: 'count' must be 2 to 20, got 21; {CONTROLLERS}",
    ),
}
"""Settings and the message that their author reads, by what is wrong."""
