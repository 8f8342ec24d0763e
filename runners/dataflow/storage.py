"""Cloud Storage, as far as staging needs it beyond what Beam stages itself."""

from __future__ import annotations

from apache_beam.io.gcp.gcsio import create_storage_client
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from models.errors import OptionsError
from runners.dataflow.settings import LOCATION


def write_text(options: PipelineOptions, location: str, text: str) -> None:
    """Writes an object of UTF-8 text; one that is there is replaced.

    Raises:
      OptionsError: when `location` is not gs://BUCKET/OBJECT.
      google.api_core.exceptions.GoogleAPICallError: when Cloud Storage refuses.
    """
    found = LOCATION.fullmatch(location)
    if found is None:
        raise OptionsError(f"{location!r} is not gs://BUCKET/OBJECT")
    client = create_storage_client(options, not options.view_as(GoogleCloudOptions).no_auth)
    client.bucket(found["bucket"]).blob(found["object"]).upload_from_string(text, content_type="application/json")
