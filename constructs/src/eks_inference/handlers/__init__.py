"""Code that runs in AWS Lambda: a module for each function, and what they share.

A stack carries the text of a module in its template, after that of ``answer``, so that
a module imports nothing else but the standard library and boto3, which the runtime
brings.
"""
