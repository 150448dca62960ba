"""Where torch computes: names of devices, and what is drawn there."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from p2pfl.errors import ConfigError


def best_device(name: str) -> str:
    """The device that a name means: "auto" is CUDA where this machine has it, else the CPU.

    Apple's MPS is not chosen: it has no float64, in which scores are added up.
    """
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def usable_device(name: str) -> torch.device:
    """The device of this name, or of "auto".

    Raises:
        ConfigError: this machine does not offer it.
    """
    name = best_device(name)
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ConfigError(
            f"device is {name!r}, which this machine does not offer ({reason})"
        ) from error
    return device


@contextmanager
def drawn_from(seed: int, device: torch.device) -> Iterator[None]:
    """Whatever a module draws in here comes from this seed; torch's state is put back."""
    devices = []
    if device.type == "cuda":
        devices = [torch.cuda.current_device() if device.index is None else device.index]
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            with torch.cuda.device(devices[0]):
                torch.cuda.manual_seed(seed)
        yield
