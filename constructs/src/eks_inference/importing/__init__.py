"""Copies a model into a bucket: every file checked, and a marker written last.

Runs in a pod: a ConfigMap holds these modules, which import each other by relative
names, the standard library of Python 3.11, and boto3, which vLLM's images bring for
their loader of weights.

Nothing is written to a disk. Parts go from the source through memory into multipart
uploads, and an upload is completed only when size and checksum are those that the
source has published. Whoever reads the model waits for the marker, which names every
file.

A file that is there with its checksum is kept, so that an import that was interrupted
goes on with the file that it was at. That file starts again: S3 lets nobody read the
parts of an unfinished upload, and a checksum over the whole needs all of them.
"""
