#!/bin/sh
# Removes what workers on Flink do not use: clients of Google's services that Beam's extra `gcp` installs (storage and
# Secret Manager stay), tests of packages, and Arrow's remote protocol.
set -eu
bin=/opt/beam-serving/bin
for name in aiplatform bigtable build dlp kms language monitoring recommendations-ai resource-manager spanner \
  videointelligence vision; do
  echo "google-cloud-${name}"
done | xargs "${bin}/pip" uninstall --quiet --yes cloud-sql-python-connector google-genai google-cloud-sql
packages=$("${bin}/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cd "${packages}"
rm -rf pandas/tests numpy/*/tests keras/src/testing_infra pyarrow/tests pyarrow/*flight*
find apache_beam -name '*_test.py' -delete
"${bin}/pip" check
"${bin}/python" -c 'import apache_beam, pyarrow.parquet, tensorflow, tfx_bsl.public.tfxio, google.cloud.storage'
"${bin}/beam-serving" --help > /dev/null
