"""Scorers of models on servers: TensorFlow Serving, and servers of the Open Inference protocol (V2).

`served_location` reads addresses, `remote_options` and `option_reader` options, `grpc_channels` and `rest_client` hold
connections, `remote_calls` makes the calls of a batch, and `remote` is the scorer that all of them share.
"""
