"""Worker processes: the pool beside a task manager, the worker within Prism's process, the wheel."""
