"""What all tests share: fast syntheses, snapshots that move for real changes only."""

import json
import os
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

# before aws_cdk is imported: CDK's own CloudFormation validation is most of the time of
# a synthesis; one test turns it on again
os.environ["CDK_VALIDATION"] = "false"
# jsii announces on stderr that Node 20 is no longer maintained; the project brings 24
os.environ["JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION"] = "20"


class OneFileSnapshot(JSONSnapshotExtension):
    """One reviewable JSON file for each assertion, in the order that was rendered."""

    def serialize(self, data: Any, **_: Any) -> str:
        """Return the file's text."""
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


@pytest.fixture
def snapshot(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """Compare with one JSON file for each assertion."""
    return snapshot.use_extension(OneFileSnapshot)
