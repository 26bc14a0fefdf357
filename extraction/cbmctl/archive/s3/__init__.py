"""The archive as a bucket of S3.

- `bucket`: the objects that a task needs, in a folder that goes with the task.
- `client`: botocore's client, and what its errors mean.
- `listing`: what the lists of a bucket hold.
"""
