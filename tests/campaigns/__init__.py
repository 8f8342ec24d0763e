"""Long runs against a pipeline under load, whose results are checked one by one."""
