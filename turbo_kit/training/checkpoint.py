"""An unfinished training in one file, from which it goes on to the very numbers that it would have had.

The file is safetensors, with all that is no tensor as JSON in its header: reading it cannot execute code.
"""

import json
import logging
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from turbo_kit.runs import write_atomically

if TYPE_CHECKING:
    from lightning_fabric import Fabric

UNFINISHED = "unfinished.safetensors"
"""In a run folder: where a training that has not come to its end stood when it was last saved."""

TENSOR = "tensor:"

log = logging.getLogger(__name__)


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Writes tensors, numbers and texts, in lists and mappings of any depth, to a file that is never half there."""
    tensors: dict[str, Tensor] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, Tensor):
            name = f"{TENSOR}{len(tensors)}"
            tensors[name] = value.detach().cpu().contiguous()
            return name
        if isinstance(value, Mapping):
            return {str(key): plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return value

    metadata = {"state": json.dumps(plain(state))}
    write_atomically(path, lambda partial: save_file(tensors, partial, metadata))


def read_state(path: Path) -> dict[str, Any] | None:
    """What `write_state` wrote, its tuples as lists and its keys as texts.

    Returns:
        The state; None, with a warning if the file is broken, where the training has to start from its beginning.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:

            def full(value: Any) -> Any:
                if isinstance(value, str) and value.startswith(TENSOR):
                    return file.get_tensor(value)
                if isinstance(value, dict):
                    return {key: full(item) for key, item in value.items()}
                return [full(item) for item in value] if isinstance(value, list) else value

            state = full(json.loads(file.metadata()["state"]))
            if not isinstance(state, dict):
                raise ValueError(f"it holds a {type(state).__name__}")
            return state
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        log.warning("%s is broken (%s): the training starts from its beginning.", path, error)
        return None


def random_states(fabric: "Fabric") -> list[dict[str, Any]]:
    """Where the random numbers of each process stand: torch's, on the device too, NumPy's and Python's."""
    _, keys, position, *gauss = np.random.get_state()  # noqa: NPY002 (what other code may draw from)
    version, numbers, normal = random.getstate()
    own: dict[str, Any] = {
        "torch": torch_state(fabric.device),
        "numpy": [torch.from_numpy(np.array(keys, dtype=np.int64)), position, *gauss],
        "python": [version, torch.tensor(numbers), math.nan if normal is None else normal],
    }
    if fabric.world_size == 1:
        return [own]
    everyone: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(everyone, own)
    return everyone


def restore_random_states(fabric: "Fabric", states: Sequence[Mapping[str, Any]]) -> None:
    """Puts the random numbers of this process where `random_states` found them."""
    own = states[fabric.global_rank]
    restore_torch_state(own["torch"], fabric.device)
    keys, position, *others = own["numpy"]
    if position not in range(len(keys) + 1):  # NumPy would read beyond its numbers
        raise ValueError(f"NumPy's random numbers stand at {position}, and there are {len(keys)}")
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, *others))  # noqa: NPY002
    version, numbers, normal = own["python"]
    random.setstate((version, tuple(numbers.tolist()), None if math.isnan(normal) else normal))


def torch_state(device: torch.device) -> list[Tensor]:
    """Where the random numbers stand that a model on this device draws from torch: the host's, then the device's."""
    return [generator.get_rng_state() for generator in _generators(device)]


def restore_torch_state(states: Sequence[Tensor], device: torch.device) -> None:
    """Puts them where `torch_state` found them."""
    for generator, state in zip(_generators(device), states, strict=True):
        generator.set_rng_state(state)


def _generators(device: torch.device) -> list[Any]:
    return [torch] if device.type == "cpu" else [torch, torch.get_device_module(device)]
