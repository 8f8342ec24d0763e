from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc, endpoints_pb2

from runners.local.free_ports import free_port

SECONDS = 60.0


@pytest.fixture
def pool() -> Iterator[tuple[psutil.Popen, str]]:
    """A pool started as in a container, and its address."""
    port = free_port()
    process = psutil.Popen([sys.executable, "-m", "runners.worker.pool", "--port", str(port)], cwd=Path.cwd())
    try:
        yield process, f"127.0.0.1:{port}"
    finally:
        family = [*process.children(recursive=True), process] if process.is_running() else []
        for one in family:
            one.kill()
        process.wait()


def ask_for_worker(address: str, name: str) -> None:
    """Requests a worker, as a task manager does; nothing listens on its control endpoint."""
    request = beam_fn_api_pb2.StartWorkerRequest(
        worker_id=name, control_endpoint=endpoints_pb2.ApiServiceDescriptor(url=f"127.0.0.1:{free_port()}")
    )
    with grpc.insecure_channel(address) as channel:
        stub = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
        answer = stub.StartWorker(request, timeout=SECONDS, wait_for_ready=True)
    assert answer.error == ""


def wait_until_there_are(process: psutil.Popen, count: int) -> list[psutil.Process]:
    deadline = time.monotonic() + SECONDS
    while len(process.children()) != count:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children: list[psutil.Process] = process.children()
    return children


def test_each_worker_that_is_asked_for_is_a_process_of_this_python(pool: tuple[psutil.Popen, str]) -> None:
    process, address = pool
    for name in ("1-1", "1-2"):
        ask_for_worker(address, name)
    workers = wait_until_there_are(process, 2)
    assert all(Path(worker.exe()).resolve() == Path(sys.executable).resolve() for worker in workers)
    assert {worker.cmdline()[worker.cmdline().index("--worker") + 1] for worker in workers} == {"1-1", "1-2"}


def test_the_workers_end_with_the_pool(pool: tuple[psutil.Popen, str]) -> None:
    process, address = pool
    ask_for_worker(address, "1-1")
    workers = wait_until_there_are(process, 1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS) == 0
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


def test_a_port_that_is_taken_is_an_error(pool: tuple[psutil.Popen, str]) -> None:
    _, address = pool
    ask_for_worker(address, "1-1")  # it listens now
    port = address.rpartition(":")[2]
    command = [sys.executable, "-m", "runners.worker.pool", "--port", port]
    second = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert second.returncode == 1
    assert f"port {port} is in use" in second.stderr


def test_a_standby_process_becomes_the_worker() -> None:
    port = free_port()
    command = [sys.executable, "-m", "runners.worker.pool", "--port", str(port), "--standby", "sklearn"]
    process = psutil.Popen(command, cwd=Path.cwd())
    try:
        (standby,) = wait_until_there_are(process, 1)
        ask_for_worker(f"127.0.0.1:{port}", "1-1")
        assert process.children() == [standby]
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
        assert not standby.is_running()
    finally:
        for one in [*process.children(recursive=True), process] if process.is_running() else []:
            one.kill()
