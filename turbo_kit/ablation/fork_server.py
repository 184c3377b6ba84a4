"""A process that has imported what a run needs and forks kernels from itself: a notebook then starts at once.

It is started with `python -m turbo_kit.ablation.fork_server`, reads one request a line (JSON) from its input and
answers with the process id of the new kernel. Where its input ends, because whoever started it has, it ends, and so do
its kernels, which watch their parent.
"""

import importlib
import json
import os
import signal
import sys
import warnings
from typing import Any, NoReturn

MODULES = (
    "ipykernel.kernelapp",
    "lightning_fabric",
    "pyarrow.parquet",
    "sklearn.metrics",
    "tqdm.auto",
    "turbo_kit.figures",
    "turbo_kit.training",
)


def _import_what_runs_need() -> None:
    for name in MODULES:
        importlib.import_module(name)
    from turbo_kit.config import RunConfig
    from turbo_kit.model import TurboModel

    TurboModel.from_config(RunConfig(), ["one", "other"])  # imports the encoders' own modules


def _become_kernel(request: dict[str, Any]) -> NoReturn:
    import pandas as pd
    import torch
    from ipykernel.kernelapp import IPKernelApp

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    parent = os.getppid()
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["folder"])
    torch.set_num_threads(request["threads"])
    pd.set_option("display.max_columns", 20)  # as in a notebook: on import it took the fork server for a terminal
    watched = f"--IPKernelApp.parent_handle={parent}"  # its own default was read when the fork server imported it
    IPKernelApp.launch_instance(argv=["-f", request["connection_file"], watched])
    os._exit(0)


def _serve() -> None:
    _import_what_runs_need()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # a kernel that has ended leaves the table of processes by itself
    # Python 3.12 warns of other threads: here idle pools of OpenBLAS and Arrow, both of which look after forks.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    for line in sys.stdin:
        request = json.loads(line)
        process = os.fork()
        if process == 0:
            _become_kernel(request)
        print(process, flush=True)


if __name__ == "__main__":
    _serve()
