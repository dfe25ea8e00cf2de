import json
from pathlib import Path

import pytest

from infra.stacks import define_stacks
from infra.stages import STAGES, load
from tests.app.conftest import new_app


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_known_account_needs_no_lookup(stage: str) -> None:
    """A stage with account and region asks AWS for nothing when it is synthesized."""
    app = new_app()
    define_stacks(app, load(stage, account="111122223333", region="us-east-1"))

    manifest = json.loads(
        (Path(app.synth().directory) / "manifest.json").read_text(encoding="utf-8")
    )

    assert "missing" not in manifest
