"""What is installed elsewhere: this very p2pfl as a wheel, with the versions that run here."""

import base64
import hashlib
import io
import re
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

from p2pfl.deploy.plan import HEALTH_PORT, Files, Made

DISTRIBUTION: Final = "p2pfl-gossip"
UID: Final = 10001
"""The image's user, where the files' owner is not known or is root."""

_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_EXTRA: Final = re.compile(r";.*\bextra\s*==")
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file knows: equal contents give equal wheels."""


def image_files() -> Files:
    """The wheel, the constraints, and the Dockerfile with its two targets, `node` and `broker`."""
    return {
        **install_files(),
        "Dockerfile": Made(content=_dockerfile().encode()),
        ".dockerignore": Made(content=b"*\n!constraints.txt\n!*.whl\n"),
    }


def install_files() -> Files:
    """The wheel and the constraints: `pip install -c constraints.txt *.whl`."""
    return {
        wheel_name(): Made(content=_wheel()),
        "constraints.txt": Made(content=_constraints().encode()),
    }


def wheel_name() -> str:
    """As PEP 427 has it."""
    name = re.sub(r"[-_.]+", "_", DISTRIBUTION)
    return f"{name}-{metadata.version(DISTRIBUTION)}-py3-none-any.whl"


def _wheel() -> bytes:
    """The package as it lies here, with its distribution's own metadata (PEP 427)."""
    found = metadata.distribution(DISTRIBUTION)
    info = f"{wheel_name().rsplit('-py3', 1)[0]}.dist-info"
    root = Path(__file__).parents[1]
    contents = {
        f"p2pfl/{path.relative_to(root).as_posix()}": path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
    }
    contents[f"{info}/METADATA"] = _metadata(found).encode()
    contents[f"{info}/entry_points.txt"] = (found.read_text("entry_points.txt") or "").encode()
    contents[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: p2pfl deploy\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = "".join(
        f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in contents.items()
    )
    contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name, date_time=_EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return stream.getvalue()


def _metadata(found: metadata.Distribution) -> str:
    requirements = "".join(f"Requires-Dist: {line}\n" for line in _own_requirements())
    python = found.metadata["Requires-Python"]
    return (
        f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {found.version}\n"
        f"Requires-Python: {python}\n{requirements}"
    )


def _own_requirements() -> list[str]:
    """Of p2pfl itself: as its checkout says, if it runs from one; an installation may be old."""
    file = Path(__file__).parents[2] / "pyproject.toml"
    if file.is_file():
        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == DISTRIBUTION:
            return list(project["dependencies"])
    lines = metadata.requires(DISTRIBUTION) or []
    return [line for line in lines if not _EXTRA.search(line)]


def _digest(content: bytes) -> str:
    raw = hashlib.sha256(content).digest()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _constraints() -> str:
    """Each distribution that p2pfl needs, at the version that is installed here."""
    lines = [f"{name}=={version}" for name, version in sorted(_needed().items())]
    return "\n".join(["# The versions that p2pfl ran with where this was made.", *lines]) + "\n"


def _needed() -> dict[str, str]:
    """The closure of p2pfl's requirements, without extras; what is not here is not needed here."""
    versions: dict[str, str] = {}
    left = list(_names(_own_requirements()))
    while left:
        name = re.sub(r"[-_.]+", "-", left.pop()).lower()
        if name in versions:
            continue
        try:
            # A local version, as in 2.13.0+cpu, is a build's own: any build of it will do.
            versions[name] = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            continue  # For another system, as its marker says.
        left += _names(metadata.requires(name) or [])
    return versions


def _names(requirements: Iterable[str]) -> Iterator[str]:
    for line in requirements:
        found = _NAME.match(line)
        if found is not None and not _EXTRA.search(line):
            yield found.group()


def _dockerfile() -> str:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    torch = metadata.version("torch").partition("+")[0]
    return f"""\
# Two images: the nodes', and the broker's.
#   docker build --target node   -t p2pfl:{metadata.version(DISTRIBUTION)} .
#   docker build --target broker -t p2pfl-broker:{metadata.version(DISTRIBUTION)} .

FROM debian:bookworm-slim AS broker
ARG UID={UID}
RUN apt-get update \\
 && apt-get install --yes --no-install-recommends mosquitto \\
 && rm -rf /var/lib/apt/lists/* \\
 && install --directory --owner=${{UID}} --mode=0700 /var/lib/p2pfl
USER ${{UID}}
EXPOSE 8883
STOPSIGNAL SIGTERM
ENTRYPOINT ["mosquitto"]
CMD ["-c", "/etc/p2pfl/mosquitto.conf"]

FROM python:{version}-slim-bookworm AS node
ARG UID={UID}
# torch without CUDA: some 200 MB instead of several gigabytes.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --index-url "${{TORCH_INDEX}}" torch=={torch}
COPY constraints.txt {wheel_name()} /tmp/p2pfl/
RUN pip install --no-cache-dir -c /tmp/p2pfl/constraints.txt /tmp/p2pfl/{wheel_name()} \\
 && useradd --uid "${{UID}}" --no-create-home --shell /usr/sbin/nologin p2pfl \\
 && install --directory --owner=${{UID}} --mode=0700 /var/lib/p2pfl
ENV OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1 HOME=/tmp
USER ${{UID}}
EXPOSE {HEALTH_PORT}
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s \\
  CMD ["p2pfl", "health", "--port", "{HEALTH_PORT}"]
ENTRYPOINT ["p2pfl"]
"""
