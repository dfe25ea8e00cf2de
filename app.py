"""The platform as a CDK app: ``cdk synth -c stage=prod``."""

import sys

import aws_cdk as cdk

from eks_inference import ConfigurationError
from infra.stacks import define_stacks
from infra.stages import load


def main() -> None:
    """Synthesize the stage that the context names, or say what is wrong with it."""
    app = cdk.App()
    context = app.node.try_get_context
    try:
        settings = load(
            context("stage"), account=context("account"), region=context("region")
        )
        define_stacks(app, settings)
    except ConfigurationError as error:
        sys.exit("\n".join(f"error: {problem}" for problem in error.problems))
    if context("checks") != "off":
        # a third of the time of a synthesis, and of no use to a benchmark
        from cdk_nag import AwsSolutionsChecks  # noqa: PLC0415

        cdk.Validations.of(app).add_plugins(AwsSolutionsChecks())
    app.synth()


if __name__ == "__main__":
    main()
