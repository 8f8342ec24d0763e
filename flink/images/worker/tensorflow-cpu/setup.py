"""A package `tensorflow` without content, which installs tensorflow-cpu: the same modules without the code for GPUs.

tfx-bsl and tensorflow-serving-api require the name `tensorflow`, whose wheel is three times as large. The local part of
the version makes pip prefer this package to the one of the index.
"""

import re
from pathlib import Path

from setuptools import setup

LOCK = Path(__file__).resolve().parent.parent / "requirements.lock.txt"
(version,) = re.findall(r"^tensorflow==(\S+)", LOCK.read_text(encoding="utf-8"), flags=re.MULTILINE)

setup(
    name="tensorflow",
    version=f"{version}+cpu",
    packages=[],
    install_requires=[f"tensorflow-cpu=={version}"],
)
