"""What the constructs need to know of a VPC that somebody else has made."""

from aws_cdk import aws_ec2 as ec2

from eks_inference._check import Problems


def private_subnets(subnets: ec2.SubnetSelection | None) -> ec2.SubnetSelection:
    """Return the given selection, or the private subnets."""
    return subnets or ec2.SubnetSelection(
        subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS
    )


def subnet_problems(vpc: ec2.IVpc, subnets: ec2.SubnetSelection | None) -> list[str]:
    """Return why a VPC has no subnets to put something into."""
    problems = Problems()
    problems.resource("vpc", vpc, "select_subnets", kind="a VPC of aws_ec2")
    if subnets is not None:
        problems.instance("subnets", subnets, ec2.SubnetSelection)
    if problems.messages:
        return problems.messages
    wanted = private_subnets(subnets)
    try:
        found = vpc.select_subnets(
            availability_zones=wanted.availability_zones,
            one_per_az=wanted.one_per_az,
            subnet_filters=wanted.subnet_filters,
            subnet_group_name=wanted.subnet_group_name,
            subnet_type=wanted.subnet_type,
            subnets=wanted.subnets,
        ).subnet_ids
    except RuntimeError as error:  # how jsii passes an exception of CDK on
        reason = str(error).partition(": ")[2]
    else:
        reason = "" if found else "none of its subnets matches."
    if reason:
        problems.add(f"'subnets' must name subnets of the VPC: {reason} Name others")
    return problems.messages
