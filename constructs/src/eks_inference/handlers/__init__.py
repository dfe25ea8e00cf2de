"""Code that runs in AWS Lambda: each module is a function of its own.

A stack carries the text of a module in its template, so that a module imports nothing
but the standard library and boto3, which the runtime brings.
"""
