"""The platform as a CDK app: ``cdk synth -c stage=prod``."""

import sys

import aws_cdk as cdk

from eks_inference import ConfigurationError
from infra.stacks import define_stacks
from infra.stages import DEFAULT_STAGE, load


def main() -> None:
    """Synthesize the stage that the context names, or say what is wrong with it."""
    app = cdk.App()
    context = app.node.try_get_context
    try:
        settings = load(
            DEFAULT_STAGE if context("stage") is None else context("stage"),
            account=context("account"),
            region=context("region"),
        )
        define_stacks(app, settings)
    except ConfigurationError as error:
        sys.exit("\n".join(f"error: {problem}" for problem in error.problems))
    if context("checks") != "off":
        # takes a while to load, and is of no use to a benchmark
        from cdk_nag import AwsSolutionsChecks  # noqa: PLC0415

        cdk.Validations.of(app).add_plugins(AwsSolutionsChecks())
    try:
        app.synth()
    except RuntimeError as error:
        # guardrails and CDK's own validation: what they found is the whole message
        sys.exit(str(error))


if __name__ == "__main__":
    main()
