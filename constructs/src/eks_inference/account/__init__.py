"""What an AWS account has, before a deployment and after a deletion.

The only modules that talk to AWS, and only for ``eks-inference preflight`` and
``eks-inference sweep``. They need boto3, which the extra ``aws`` installs.
"""
