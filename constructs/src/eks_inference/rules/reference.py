"""The reference of all rules as Markdown: ``python -m`` this module prints it."""

import sys
from collections.abc import Sequence
from typing import Any

from eks_inference.rules import Rule
from eks_inference.rules.model_rules import MODEL_RULES
from eks_inference.rules.pool_rules import POOL_RULES


def rules() -> Sequence[Rule[Any]]:
    """Return every rule, sorted by name."""
    every: list[Rule[Any]] = [*MODEL_RULES, *POOL_RULES]
    return sorted(every, key=lambda rule: rule.name)


def markdown() -> str:
    """Return the reference of all rules."""
    lines = [
        "# Guardrails",
        "",
        "<!-- written by 'make guardrails' from the rules themselves -->",
        "",
        "Rules that every pool and model keeps when an app is synthesized. They look",
        "at the objects that will be applied, after every patch. An error stops the",
        "synthesis; a warning can be acknowledged by its id; both can be switched:",
        "",
        "```python",
        "Guardrails.of(stack).switch(",
        '    "eks_inference:spotGrace",',
        "    Severity.WARNING,",
        '    reason="batch stage: lost requests are sent again",',
        ")",
        "```",
        "",
        "A switch applies to everything below the construct that it is made on, and is",
        "reported in the synthesis with its reason.",
        "",
        "| id | severity | what must hold | otherwise |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{rule.id}` | {rule.severity} | {rule.statement} | {rule.reason} |"
        for rule in rules()
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
