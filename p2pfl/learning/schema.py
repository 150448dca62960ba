"""What makes two flat vectors the same model: the parameters' names, shapes and types."""

import hashlib
from collections.abc import Iterable


def schema_hash(entries: Iterable[tuple[str, tuple[int, ...], str]]) -> str:
    """16 hex digits that change when any (name, shape, dtype) or their order does."""
    lines = (f"{name} {','.join(map(str, shape))} {dtype}\n" for name, shape, dtype in entries)
    return hashlib.blake2b("".join(lines).encode(), digest_size=8).hexdigest()
