#!/bin/sh
# Removes what workers on Flink do not use: clients of Google's services that Beam's extra `gcp` installs (storage and
# Secret Manager stay), descriptions of Amazon's services but of storage and credentials, what only compiling against
# TensorFlow and Arrow needs, tests of packages, Arrow's remote protocol, the asynchronous client of Kubernetes, and
# symbols for debuggers.
set -eu
python=/opt/beam-serving/bin/python
for name in aiplatform bigtable build dlp kms language monitoring recommendations-ai resource-manager spanner \
  videointelligence vision; do
  echo "google-cloud-${name}"
done | xargs pip --python "${python}" uninstall --quiet --yes cloud-sql-python-connector google-genai google-cloud-sql
packages=$("${python}" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cd "${packages}"
rm -rf tensorflow/include pyarrow/include clang/native kubernetes/aio
rm -rf pandas/tests numpy/*/tests keras/src/testing_infra pyarrow/tests pyarrow/*flight*
find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name sts ! -name 'sso*' -exec rm -rf {} +
find apache_beam -name '*_test.py' -delete
find apache_beam zstandard -name '*.so' -exec strip --strip-debug {} +
pip --python "${python}" check
"${python}" -c 'import apache_beam, kubernetes.client, pyarrow.parquet, tensorflow, google.cloud.storage, zstandard'
"${python}" -c 'import boto3; [boto3.client(name, region_name="eu-west-1") for name in ("s3", "sts", "sso", "sso-oidc")]'
if [ "$(uname -m)" = x86_64 ]; then # elsewhere there is no wheel of it
  "${python}" -c 'import tfx_bsl.public.tfxio'
fi
