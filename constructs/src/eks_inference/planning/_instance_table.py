"""What AWS says of each instance type with NVIDIA GPUs. Generated, do not edit.

Written by ``python tools/instances.py CSV`` (``--check`` compares), where the CSV
joins three files of aws/karpenter-provider-aws at 1d92708 (2026-08-21):
website/content/en/preview/reference/instance-types.md (GPUs, CPU, memory, what
Karpenter expects to be allocatable with AL2023, EBS ceiling, NVMe),
pkg/providers/instancetype/zz_generated.bandwidth.go (network baseline) and
pkg/providers/pricing/zz_generated.pricing_aws.go (on-demand Linux prices). Network
burst and EBS baseline: EC2's DescribeInstanceTypes, as getmoto/moto 5.2.5 has
recorded it in moto/ec2/resources/instance_types.json.
"""
# ruff: noqa: E501 - one instance type a line

PRICES_DATE = "2026-07-20"
"""Day of the prices."""

PRICES_REGION = "us-east-1"
"""Region of the prices."""

Row = tuple[str, str, int, int, int, float, int, int, int, int, int, int, float | None]

# fmt: off
ROWS: tuple[Row, ...] = (
    # name, GPU, GPUs, vCPUs, memory MiB, allocatable CPU, allocatable MiB,
    # network Mbit/s, with burst, EBS Mbit/s, with burst, NVMe GB, USD/h
    ("g4dn.xlarge",      "T4",           1,   4,   16384,   3.92,   14481,    5000,   25000,    950,   3500,   125,     0.526),
    ("g4dn.2xlarge",     "T4",           1,   8,   32768,   7.91,   29636,   10000,   25000,   1150,   3500,   225,     0.752),
    ("g4dn.4xlarge",     "T4",           1,  16,   65536,  15.89,   59946,   20000,   25000,   4750,   4750,   225,     1.204),
    ("g4dn.8xlarge",     "T4",           1,  32,  131072,  31.85,  120248,   50000,   50000,   9500,   9500,   900,     2.176),
    ("g4dn.12xlarge",    "T4",           4,  48,  196608,  47.81,  178933,   50000,   50000,   9500,   9500,   900,     3.912),
    ("g4dn.16xlarge",    "T4",           1,  64,  262144,  63.77,  241490,   50000,   50000,   9500,   9500,   900,     4.352),
    ("g5.xlarge",        "A10G",         1,   4,   16384,   3.92,   14162,    2500,   10000,    700,   3500,   250,     1.006),
    ("g5.2xlarge",       "A10G",         1,   8,   32768,   7.91,   29317,    5000,   10000,    850,   3500,   450,     1.212),
    ("g5.4xlarge",       "A10G",         1,  16,   65536,  15.89,   57691,   10000,   25000,   4750,   4750,   600,     1.624),
    ("g5.8xlarge",       "A10G",         1,  32,  131072,  31.85,  118312,   25000,   25000,  16000,  16000,   900,     2.448),
    ("g5.12xlarge",      "A10G",         4,  48,  196608,  47.81,  173400,   40000,   40000,  16000,  16000,  3800,     5.672),
    ("g5.16xlarge",      "A10G",         1,  64,  262144,  63.77,  239554,   25000,   25000,  16000,  16000,  1900,     4.096),
    ("g5.24xlarge",      "A10G",         4,  96,  393216,  95.69,  355262,   50000,   50000,  19000,  19000,  3800,     8.144),
    ("g5.48xlarge",      "A10G",         8, 192,  786432, 191.45,  723299,  100000,  100000,  19000,  19000,  7600,    16.288),
    ("g5g.xlarge",       "T4G",          1,   4,    8192,   3.92,    6525,    1250,   10000,   1188,   4750,     0,      0.42),
    ("g5g.2xlarge",      "T4G",          1,   8,   16384,   7.91,   14103,    2500,   10000,   2375,   4750,     0,     0.556),
    ("g5g.4xlarge",      "T4G",          1,  16,   32768,  15.89,   27322,    5000,   10000,   4750,   4750,     0,     0.828),
    ("g5g.8xlarge",      "T4G",          1,  32,   65536,  31.85,   57632,   12000,   12000,   9500,   9500,     0,     1.372),
    ("g5g.16xlarge",     "T4G",          2,  64,  131072,  63.77,  112720,   25000,   25000,  19000,  19000,     0,     2.744),
    ("g6.xlarge",        "L4",           1,   4,   16384,   3.92,   14162,    2500,   10000,   1000,   5000,   250,    0.8048),
    ("g6.2xlarge",       "L4",           1,   8,   32768,   7.91,   29317,    5000,   10000,   2000,   5000,   450,    0.9776),
    ("g6.4xlarge",       "L4",           1,  16,   65536,  15.89,   57691,   10000,   25000,   8000,   8000,   600,    1.3232),
    ("g6.8xlarge",       "L4",           1,  32,  131072,  31.85,  118312,   25000,   25000,  16000,  16000,   900,    2.0144),
    ("g6.12xlarge",      "L4",           4,  48,  196608,  47.81,  178933,   40000,   40000,  20000,  20000,  3760,    4.6016),
    ("g6.16xlarge",      "L4",           1,  64,  262144,  63.77,  234021,   25000,   25000,  20000,  20000,  1880,    3.3968),
    ("g6.24xlarge",      "L4",           4,  96,  393216,  95.69,  355262,   50000,   50000,  30000,  30000,  3760,    6.6752),
    ("g6.48xlarge",      "L4",           8, 192,  786432, 191.45,  718987,  100000,  100000,  60000,  60000,  7520,   13.3504),
    ("g6e.xlarge",       "L40S",         1,   4,   32768,   3.92,   29317,    2500,   20000,   1000,   5000,   250,     1.861),
    ("g6e.2xlarge",      "L40S",         1,   8,   65536,   7.91,   59627,    5000,   20000,   2000,   5000,   450,   2.24208),
    ("g6e.4xlarge",      "L40S",         1,  16,  131072,  15.89,  118312,   20000,   20000,   8000,   8000,   600,   3.00424),
    ("g6e.8xlarge",      "L40S",         1,  32,  262144,  31.85,  239554,   25000,   25000,  16000,  16000,   900,   4.52856),
    ("g6e.12xlarge",     "L40S",         4,  48,  393216,  47.81,  360157,  100000,  100000,  20000,  20000,  3800,  10.49264),
    ("g6e.16xlarge",     "L40S",         1,  64,  524288,  63.77,  476504,   35000,   35000,  20000,  20000,  1900,   7.57719),
    ("g6e.24xlarge",     "L40S",         4,  96,  786432,  95.69,  721682,  200000,  200000,  30000,  30000,  3800,  15.06559),
    ("g6e.48xlarge",     "L40S",         8, 192, 1572864, 191.45, 1449132,  400000,  400000,  60000,  60000,  7600,  30.13118),
    ("g7.2xlarge",       "RTX_PRO_4500", 1,   8,   32768,   7.91,   27161,   40000,   60000,   4000,   8000,   440,      2.52),
    ("g7.4xlarge",       "RTX_PRO_4500", 1,  16,   65536,  15.89,   54699,   80000,  100000,   8000,   8000,   875,   3.04208),
    ("g7.8xlarge",       "RTX_PRO_4500", 1,  32,  131072,  31.85,  113934,  100000,  100000,  16000,  16000,   930,   4.08624),
    ("g7.12xlarge",      "RTX_PRO_4500", 2,  48,  196608,  47.81,  173169,  175000,  175000,  20000,  20000,  1900,   7.12832),
    ("g7.24xlarge",      "RTX_PRO_4500", 4,  96,  393216,  95.69,  346715,  350000,  350000,  40000,  40000,  3800,  14.25664),
    ("g7.48xlarge",      "RTX_PRO_4500", 8, 192,  786432, 191.45,  718756,  700000,  700000,  80000,  80000,  7600,  28.51328),
    ("g7e.2xlarge",      "RTX_PRO_6000", 1,   8,   65536,   7.91,   57471,   50000,   50000,   2000,   5000,  1900,   3.36312),
    ("g7e.4xlarge",      "RTX_PRO_6000", 1,  16,  131072,  15.89,  115320,   50000,   50000,   8000,   8000,  1900,   3.99816),
    ("g7e.8xlarge",      "RTX_PRO_6000", 1,  32,  262144,  31.85,  236562,  100000,  100000,  16000,  16000,  1900,   5.26824),
    ("g7e.12xlarge",     "RTX_PRO_6000", 2,  48,  524288,  47.81,  477659,  400000,  400000,  25000,  25000,  3800,   8.28608),
    ("g7e.24xlarge",     "RTX_PRO_6000", 4,  96, 1048576,  95.69,  962625,  800000,  800000,  50000,  50000,  7600,  16.57216),
    ("g7e.48xlarge",     "RTX_PRO_6000", 8, 192, 2097152, 191.45, 1932558, 1600000, 1600000, 100000, 100000, 15200,  33.14432),
    ("gr6.4xlarge",      "L4",           1,  16,  131072,  15.89,  118312,   10000,   25000,   8000,   8000,   600,    1.5392),
    ("gr6.8xlarge",      "L4",           1,  32,  262144,  31.85,  239554,   25000,   25000,  16000,  16000,   900,    2.4464),
    ("p4d.24xlarge",     "A100_40G",     8,  96, 1179648,  95.69, 1082712,  400000,  400000,  19000,  19000,  8000, 21.957642),
    ("p4de.24xlarge",    "A100_80G",     8,  96, 1179648,  95.69, 1082712,  400000,  400000,  19000,  19000,  8000,  27.44705),
    ("p5.4xlarge",       "H100",         1,  16,  262144,  15.89,  240830,  100000,  100000,  10000,  10000,  3800,      6.88),
    ("p5.48xlarge",      "H100",         8, 192, 2097152, 191.45, 1938410, 3200000, 3200000,  80000,  80000, 30400,     55.04),
    ("p5e.48xlarge",     "H200",         8, 192, 2097152, 191.45, 1938410, 3200000, 3200000,  80000,  80000, 30400,      None),
    ("p5en.48xlarge",    "H200",         8, 192, 2097152, 191.45, 1937332, 3200000, 3200000, 100000, 100000, 30400,    63.296),
    ("p6-b200.48xlarge", "B200",         8, 192, 2097152, 191.45, 1937332, 3200000, 3200000, 100000, 100000, 30400,  113.9328),
    ("p6-b300.48xlarge", "B300",         8, 192, 4194304, 191.45, 3877198, 6400000, 6400000, 100000, 100000, 30400,   142.416),
)
# fmt: on
"""One row for each instance type that a pool can use."""

LEFT_OUT = {
    "g4ad.xlarge": "its GPU is not made by NVIDIA",
    "g4ad.2xlarge": "its GPU is not made by NVIDIA",
    "g4ad.4xlarge": "its GPU is not made by NVIDIA",
    "g4ad.8xlarge": "its GPU is not made by NVIDIA",
    "g4ad.16xlarge": "its GPU is not made by NVIDIA",
    "g4dn.metal": "it is bare metal",
    "g5g.metal": "it is bare metal",
    "g6f.large": "it has a fraction of a GPU, for which Karpenter advertises none",
    "g6f.xlarge": "it has a fraction of a GPU, for which Karpenter advertises none",
    "g6f.2xlarge": "it has a fraction of a GPU, for which Karpenter advertises none",
    "g6f.4xlarge": "it has a fraction of a GPU, for which Karpenter advertises none",
    "gr6f.4xlarge": "it has a fraction of a GPU, for which Karpenter advertises none",
    "p3dn.24xlarge": "its GPU has compute capability 7.0, and vLLM needs 7.5",
}
"""Why a pool cannot use the other instance types with GPUs."""
