"""What an AWS account has before a deployment and after a deletion, or gets for it.

The only modules that talk to AWS, and only for ``eks-inference preflight``,
``eks-inference sweep`` and ``eks-inference image-snapshot``. They need boto3, which the
extra ``aws`` installs.
"""
