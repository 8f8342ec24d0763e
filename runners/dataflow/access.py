"""Checks with Google, before anything is staged, that we can access what a job needs."""

from __future__ import annotations

import re
from typing import Any

import google.auth
from apache_beam.internal.gcp.auth import get_service_credentials
from apache_beam.io.gcp.gcsio import create_storage_client
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import Forbidden, GoogleAPICallError, NotFound, RetryError, Unauthorized
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.cloud import dataflow_v1beta3 as dataflow

from models.errors import CloudResourceError
from runners.dataflow.settings import LOCATION

_SECONDS = 30.0
_RUNNING = (dataflow.JobState.JOB_STATE_RUNNING, dataflow.JobState.JOB_STATE_DRAINING)


def check_access(options: PipelineOptions) -> None:
    """Checks access to the credentials and buckets and, unless only a template is written, to the Dataflow service.

    The check of the service covers the project, the region and the job to update.

    Raises:
      CloudResourceError: one of them is missing or access is denied; the message names it.
    """
    cloud = options.view_as(GoogleCloudOptions)
    if not cloud.no_auth:
        _check_credentials()
    check_buckets(options, {cloud.temp_location, cloud.staging_location, cloud.template_location} - {None})
    if not cloud.template_location:
        _check_service(cloud, _jobs_client(options))


def check_buckets(options: PipelineOptions, locations: set[str]) -> None:
    """Raises CloudResourceError when the bucket of a gs:// location does not exist or denies access."""
    client = create_storage_client(options, not options.view_as(GoogleCloudOptions).no_auth)
    for location in sorted(locations):
        found = LOCATION.fullmatch(location)
        bucket = found["bucket"] if found else location
        try:
            # Lists objects instead of getting the bucket, because storage.buckets.get is a permission that staging
            # does not need and an account may lack.
            next(iter(client.list_blobs(bucket, max_results=1, timeout=_SECONDS, retry=None)), None)
        except NotFound as error:
            raise CloudResourceError(
                f"{location}: bucket {bucket!r} does not exist; create it or use another one"
            ) from error
        except (Forbidden, Unauthorized) as error:
            raise CloudResourceError(
                f"{location}: access to bucket {bucket!r} is denied: {error.message}; the role "
                "roles/storage.objectUser grants it"
            ) from error
        except (GoogleAPICallError, GoogleAuthError, OSError) as error:
            raise CloudResourceError(f"{location}: Cloud Storage does not answer: {error}") from error


def _check_credentials() -> None:
    try:
        google.auth.default()
    except DefaultCredentialsError as error:
        raise CloudResourceError(
            "no Google credentials were found: run `gcloud auth application-default login`"
        ) from error


def _jobs_client(options: PipelineOptions) -> Any:
    cloud = options.view_as(GoogleCloudOptions)
    adapter = None if cloud.no_auth else get_service_credentials(options)
    credentials = adapter.get_google_auth_credentials() if adapter else AnonymousCredentials()  # type: ignore[no-untyped-call]
    endpoint = cloud.dataflow_endpoint.strip().rstrip("/")
    local = "localhost" in endpoint
    return dataflow.JobsV1Beta3Client(
        credentials=credentials,
        transport="rest" if local else None,
        client_options=ClientOptions(api_endpoint=endpoint if local else re.sub("^https?://", "", endpoint)),
    )


def _check_service(cloud: GoogleCloudOptions, client: Any) -> None:
    wanted = dataflow.ListJobsRequest.Filter.ACTIVE if cloud.update else dataflow.ListJobsRequest.Filter.ALL
    request = dataflow.ListJobsRequest(project_id=cloud.project, location=cloud.region, filter=wanted)
    if not cloud.update:
        request.page_size = 1
    where = f"project {cloud.project!r}, region {cloud.region!r}"
    try:
        jobs = client.list_jobs(request=request, timeout=_SECONDS)
        # Beam would wait forever for the job to update if it does not run, so this checks that it does.
        found = not cloud.update or any(job.name == cloud.job_name and job.current_state in _RUNNING for job in jobs)
    except (Forbidden, Unauthorized) as error:
        raise CloudResourceError(
            f"{where}: access is denied: {error.message}; enable the Dataflow API and grant the role "
            "roles/dataflow.developer"
        ) from error
    except (RetryError, GoogleAuthError, OSError) as error:
        raise CloudResourceError(f"{where}: Dataflow does not answer: {error}") from error
    except GoogleAPICallError as error:
        raise CloudResourceError(f"{where}: Dataflow rejects the request: {error.message}") from error
    if not found:
        raise CloudResourceError(
            f"{where}: no job named {cloud.job_name!r} is running; omit --update to start it as a new job"
        )
