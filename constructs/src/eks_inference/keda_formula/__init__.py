"""KEDA's formulas: what they may say, and what they come to."""

from eks_inference.keda_formula.formula import Formula

__all__ = ["Formula"]
