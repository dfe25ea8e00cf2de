"""The AWS side of the platform: one stack per file, composed by ``app.py``."""
