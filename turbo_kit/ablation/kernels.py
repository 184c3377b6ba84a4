"""The kernels that run notebooks: they listen on sockets in the file system, not on ports, and start quickly."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from jupyter_client.manager import AsyncKernelManager

CAN_FORK = sys.platform == "linux"
"""Whether kernels are forked from a process that has already imported the kit; elsewhere they start from scratch."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def kernel_manager(threads: int, sockets: str) -> type[AsyncKernelManager]:
    """A manager class, as papermill takes one.

    Args:
        threads: with which its kernel computes.
        sockets: an empty folder with a short path, for the sockets of its kernel alone.
    """

    class LocalKernelManager(AsyncKernelManager):
        def _transport_default(self) -> str:
            return "tcp" if os.name == "nt" else "ipc"  # no open port, and no race for one

        def _ip_default(self) -> str:
            return "127.0.0.1" if os.name == "nt" else f"{sockets}/socket"

        async def _async_launch_kernel(self, kernel_cmd: list[str], **options: Any) -> None:
            environment = {**options.pop("env", os.environ), **dict.fromkeys(THREADS, str(threads))}
            if not CAN_FORK:
                await super()._async_launch_kernel(kernel_cmd, env=environment, **options)
                return
            request = {
                "connection_file": self.connection_file,
                "env": environment,
                "folder": options.get("cwd") or str(Path.cwd()),
                "threads": threads,
            }
            kernel = await asyncio.to_thread(_fork, request)
            provisioner: Any = self.provisioner
            provisioner.process, provisioner.pid, provisioner.pgid = kernel, kernel.pid, kernel.pid

    return LocalKernelManager


_LOCK = Lock()


def _fork(request: dict[str, Any]) -> "_Kernel":
    """Has the fork server of this process start a kernel."""
    with _LOCK:
        if _fork_server().poll() is not None:  # it was killed: the next one lives on
            _fork_server.cache_clear()
        server = _fork_server()
        if server.stdin is None or server.stdout is None:
            raise RuntimeError("the fork server has no pipes")
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        answer = server.stdout.readline()
    if not answer.strip().isdigit():
        raise RuntimeError("the process that starts kernels has died: give the same command again.")
    return _Kernel(int(answer))


@cache
def _fork_server() -> "subprocess.Popen[str]":
    """The fork server of this process; it ends with it."""
    # Threads that ran before a fork would be missing after it, so none are started there.
    environment = os.environ | dict.fromkeys(THREADS, "1") | {"TOKENIZERS_PARALLELISM": "false"}
    return subprocess.Popen(
        [sys.executable, "-m", "turbo_kit.ablation.fork_server"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


class _Kernel:
    """A forked kernel with the part of `subprocess.Popen`'s interface that jupyter_client's provisioner uses."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """None while the kernel lives."""
        if self.returncode is None:
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                self.returncode = 1  # not our child: how it ended is not known here
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        start = time.monotonic()
        while (code := self.poll()) is None:
            if timeout is not None and time.monotonic() - start > timeout:
                raise subprocess.TimeoutExpired("kernel", timeout)
            time.sleep(0.05)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)
