"""Flink: the plan, the job server, a local cluster, submission, and the job over REST."""
