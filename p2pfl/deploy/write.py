"""A deployment's files put into a folder, the secret ones for their owner's eyes alone."""

import os
from pathlib import Path

from p2pfl.deploy.plan import Files
from p2pfl.errors import ConfigError


def write_files(files: Files, folder: Path, *, owner: tuple[int, int] | None = None) -> None:
    """Write them into a new or empty folder; `owner`: whose they are, where not this user's.

    Raises:
        ConfigError: the folder is not empty, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError(
                f"--out {folder}: is not empty; what is there may be in use, and each deployment"
                " has secrets of its own: give a new folder"
            )
        for name, made in files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            mode = 0o600 if made.secret else 0o644
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with open(descriptor, "wb") as stream:  # noqa: PTH123 - a descriptor with its mode
                stream.write(made.content)
            # Whatever the mask says: other users read the plain files in containers and services.
            file.chmod(mode)
            if owner is not None:
                os.chown(file, *owner)
    except OSError as error:
        raise ConfigError(f"--out {folder}: cannot be written: {error.strerror}") from None
