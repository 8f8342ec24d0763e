"""The node: its programs, network, certificates and containers."""
