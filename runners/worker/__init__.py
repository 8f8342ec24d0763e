"""Workers: the pool next to a Flink task manager, the worker in this process, and the wheel that workers install."""
