"""The kernel that runs a notebook: it is spoken to over files of its user, not over network ports."""

import os

from jupyter_client.manager import AsyncKernelManager


class LocalKernelManager(AsyncKernelManager):
    """Talks to the kernel over Unix sockets where the system has them: no open port, and no race for one."""

    def _transport_default(self) -> str:
        return "tcp" if os.name == "nt" else "ipc"
