"""The distribution: four packages named one by one (another distribution's `models` must never be swept in)."""

from pathlib import Path

from setuptools import find_packages, setup

# What users of a part of the application install beside the rest; `models/extras.py` names them in errors.
SERVERS = [
    "open-inference-grpc>=2,<3",
    "tenacity>=9,<10",
    "tensorflow-serving-api>=2.19,<2.22",
]
DASHBOARD = [
    "starlette>=1,<2",
    "uvicorn>=0.35,<1",
]
EXPLAIN = [
    # Earlier ones need an older numpy on Python 3.10, and this one does not run there.
    "shap>=0.51,<0.52; python_version >= '3.11'",
    # shap compiles with it, which we switch off while it is imported.
    "numba>=0.60,<1; python_version >= '3.11'",
]
H2O = ["JPype1>=1.5,<2"]
HUGGINGFACE = ["huggingface_hub>=2,<3"]
KUBERNETES = ["kubernetes>=34,<38"]
ONNX = ["onnxruntime>=1.20,<2"]
SKLEARN = [
    "scikit-learn>=1.6,<2",
    # Earlier ones trusted types that a hostile file could use.
    "skops>=0.13,<1",
]
XGBOOST = [
    # The same module as in xgboost, without 300 MB for GPUs.
    "xgboost-cpu>=3,<4",
]
LIGHTGBM = ["lightgbm>=4.6,<5"]
LINEAGE = ["openlineage-python>=1.54,<2"]
MLFLOW = [
    # The same module as in mlflow, without its server.
    "mlflow-skinny>=3.10,<4",
    # Functions of Python get their rows as its tables.
    "pandas>=2,<4",
]
DRIFT = ["datasketches>=5.2,<6"]
PYTORCH = [
    # Not locked and not among those of the tests: on Linux the default index gives it with gigabytes for GPUs.
    # What loading executes was read in this version, which Python 3.10 does not get.
    "torch>=2.15,<3; python_version >= '3.11'",
]
REGISTRY = [
    # The first that the registry's client imports: named, so that an error can say which extra is missing.
    "Authlib>=1.8,<2",
    "confluent-kafka[avro,schemaregistry]>=2.16,<3",
]

TELEMETRY = [
    # Beam brings the SDK along; its releases and those of the exporter go together.
    "opentelemetry-exporter-otlp-proto-http>=1.45,<2",
    "opentelemetry-sdk>=1.45,<2",
]

setup(
    name="beam-serving",
    version="0.1.0",
    description="Model serving on Apache Beam with models as data",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    # The demo stays in the source tree: workers get the wheel, and have no use for it.
    packages=find_packages(
        include=["beam_pipeline*", "models*", "transforms*", "runners*"], exclude=["beam_pipeline.demo*"]
    ),
    package_data={
        "models": ["py.typed"],
        "models.scorers.h2o_mojo": ["java/SHA256SUMS", "java/pom.xml", "java/src/main/java/serving/h2o/*.java"],
        "models.schemas": ["*.avsc", "earlier/*.avsc"],
        "beam_pipeline": ["py.typed"],
        "beam_pipeline.dashboard": ["static/*", "static/vendor/*"],
        "beam_pipeline.publishing": ["data/*"],
        "runners": ["py.typed"],
        "runners.local": ["apicurio/*.xml", "kafka/*.xml"],
        "transforms": ["py.typed"],
    },
    install_requires=[
        # Its extra brings Google's clients for Cloud Storage, Dataflow and Secret Manager, in versions that fit.
        "apache-beam[gcp]>=2.77,<2.78",
        "confluent-kafka>=2.16,<3",
        "fastavro>=1.12,<2",
        # The checksums of TFRecords; Google's client for Cloud Storage brings it along.
        "google-crc32c>=1.5,<2",
        "grpcio>=1.76,<2",
        # TensorFlow brings it along; earlier versions let a file of a model read other files.
        "keras>=3.12,<4",
        "numpy>=2,<3",
        # `--metrics-port`.
        "prometheus-client>=0.20,<1",
        "orjson>=3.9.7,<4",
        "pyarrow>=16,<26",
        "pyyaml>=6,<7",
        "rich>=14,<16",
        "tensorflow>=2.21,<2.22",
        # On Python 3.10 its tensorflow-metadata and apache-beam[gcp] want different protobufs: nothing resolves.
        # There is no wheel for Linux on ARM, nor a source distribution: images for it lack the format tf-example.
        "tfx-bsl>=1.21,<1.22; python_version >= '3.11' and platform_machine != 'aarch64'",
        "urllib3>=2,<3",
        "xxhash>=3.4,<4",
    ],
    extras_require={
        "aws": ["apache-beam[aws]>=2.77,<2.78"],
        "dashboard": DASHBOARD,
        "docs": [
            "mkdocs-material>=9.5,<10",
        ],
        "explain": EXPLAIN,
        "drift": DRIFT,
        "h2o": H2O,
        "huggingface": HUGGINGFACE,
        "kubernetes": KUBERNETES,
        "lightgbm": LIGHTGBM,
        "lineage": LINEAGE,
        "mlflow": MLFLOW,
        "onnx": ONNX,
        "pytorch": PYTORCH,
        "registry": REGISTRY,
        "servers": SERVERS,
        "sklearn": SKLEARN,
        "telemetry": TELEMETRY,
        "test": [
            *DASHBOARD,
            *EXPLAIN,
            *DRIFT,
            *H2O,
            *HUGGINGFACE,
            *KUBERNETES,
            *LIGHTGBM,
            *LINEAGE,
            *MLFLOW,
            *ONNX,
            *REGISTRY,
            *SERVERS,
            *SKLEARN,
            *TELEMETRY,
            *XGBOOST,
            # Beam's handler for XGBoost imports it.
            "datatable>=1.1,<2",
            "gcp-storage-emulator>=2024.8,<2025",
            "hypothesis>=6.100,<7",
            # Confluent's JSON serializer, against which the format json-schema is tested, needs it.
            "jsonschema>=4.18,<5",
            "mypy>=1.18,<3",
            # An independent client of OCI registries, which pushes the artifacts of tests.
            "oras>=0.2.40,<0.3",
            # Drives a real browser, which tests/browser finds or installs.
            "playwright>=1.55,<2",
            "psutil>=6,<8",
            "pytest>=8,<10",
            "pytest-timeout>=2.3,<3",
            "ruff>=0.14,<0.18",
            # Statistics against which those of drift are tested.
            "scipy>=1.13,<2",
            "skl2onnx>=1.19,<2",
            # The storage emulator needs pkg_resources, which later versions no longer bring.
            "setuptools>=65,<81",
            "tf2onnx>=1.16,<2",
            "types-psutil",
            "types-PyYAML",
        ],
        "xgboost": XGBOOST,
    },
    entry_points={
        "console_scripts": ["beam-serving=beam_pipeline.cli.command_line:main"],
        # A scorer that needs Beam, which models/ does not know, joins the table as those of other packages do.
        "beam_serving.scorers": ["beam-model-handler=transforms.model_handler_scorer"],
    },
)
