"""Writes to Cloud Storage what Beam does not stage itself."""

from __future__ import annotations

from apache_beam.io.gcp.gcsio import create_storage_client
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from models.errors import OptionsError
from runners.dataflow.settings import LOCATION


def write_text(options: PipelineOptions, location: str, text: str) -> None:
    """Writes UTF-8 text (JSON) to an object, replacing an existing one.

    Raises:
      OptionsError: `location` is not gs://BUCKET/OBJECT.
      google.api_core.exceptions.GoogleAPICallError: Cloud Storage rejects the request.
    """
    found = LOCATION.fullmatch(location)
    if found is None:
        raise OptionsError(f"{location!r} is not gs://BUCKET/OBJECT")
    client = create_storage_client(options, not options.view_as(GoogleCloudOptions).no_auth)
    client.bucket(found["bucket"]).blob(found["object"]).upload_from_string(text, content_type="application/json")
