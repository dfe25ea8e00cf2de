"""The command ``eks-inference``: what the planner knows, in a terminal."""
