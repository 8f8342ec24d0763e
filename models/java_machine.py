"""The Java virtual machine of this process, shared by whatever needs one.

A process can have one and cannot start it again, and a child that is forked after its start would wait for it for ever.
Java reads its own settings, such as the memory, from the environment: `JAVA_TOOL_OPTIONS=-Xmx4g`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

import jpype

from models.errors import JavaMachineError

_LOCK = threading.Lock()
# The process that started the machine; empty if none of ours has.
_STARTED_BY: set[int] = set()
# Without -Xrs Java takes over the signals that end a process.
_SETTINGS = ("-Xrs", "-Djava.awt.headless=true")


def java_class(name: str, jars: Collection[Path]) -> Any:
    """A class of Java; the machine is started with these jars if it is not running yet.

    Args:
      name: of the class, with its package.
      jars: what must be on the machine's class path.

    Raises:
      JavaMachineError: when there is no Java, it is too old, the machine was started by a parent of this process or
        with other jars, or has no such class.
    """
    with _LOCK:
        _start(jars)
    try:
        return jpype.JClass(name)
    except (TypeError, jpype.JException) as error:
        raise JavaMachineError(f"the Java class {name} cannot be loaded: {error}") from error


def _start(jars: Collection[Path]) -> None:
    if not jpype.isJVMStarted():
        _start_with(jars)
        _STARTED_BY.add(os.getpid())
        return
    if _STARTED_BY and os.getpid() not in _STARTED_BY:
        raise JavaMachineError(
            "this process was forked from one that had started Java, which cannot work; start workers as new processes"
        )
    present = set(str(jpype.java.lang.System.getProperty("java.class.path")).split(os.pathsep))
    missing = sorted(str(jar) for jar in jars if str(jar) not in present)
    if missing:
        raise JavaMachineError(f"this process has already started Java without {missing[0]}; restart it")


def _start_with(jars: Collection[Path]) -> None:
    try:
        jpype.startJVM(*_SETTINGS, classpath=[str(jar) for jar in jars], convertStrings=False)
    except (jpype.JVMNotFoundException, jpype.JVMNotSupportedException, OSError, RuntimeError) as error:
        raise JavaMachineError(
            f"Java cannot be started: {error}; install a Java runtime, 11 or newer (Debian: apt install "
            "default-jre-headless), here and wherever workers run"
        ) from error
