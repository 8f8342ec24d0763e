"""The contenders: the processes that are measured, each of which scores one topic into another."""
