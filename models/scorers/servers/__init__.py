"""Scorers of models on servers: TensorFlow Serving, and servers of the Open Inference protocol (V2).

`served_location` parses addresses, `remote_options` reads options with `models.scorers.option_reader`, `grpc_channels`
and `rest_client` hold connections, `remote_calls` makes the calls of a batch, and `remote` contains the base class of
the scorers.
"""
