"""What is measured while records are scored, and who is told.

`models/` calls an `Observer`. `Totals` adds up what it is told; Prometheus, OpenTelemetry and Beam read the sums, so
that all three agree, and a batch costs a few additions however many of them listen.
"""
