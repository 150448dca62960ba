"""What came in and was not read yet: bounded, because the newest of a kind replaces the older."""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

LETTERS_MAX: Final = 64
"""Unread letters per peer. A pairwise algorithm has one or two under way."""


class Mailbox(Generic[T]):
    """Items in order of arrival; an item under a key that waits already takes its place."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[Hashable, T] = OrderedDict()
        self._letters: dict[Hashable, int] = {}
        self._numbers = 0
        self._filled = asyncio.Event()
        self._fault: BaseException | None = None

    def __repr__(self) -> str:
        return f"Mailbox({len(self._waiting)} waiting)"

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._waiting

    def put(self, key: Hashable, item: T) -> bool:
        """Leave an item; True if an unread one under this key was replaced."""
        replaced = key in self._waiting
        self._waiting[key] = item
        self._filled.set()
        return replaced

    def put_letter(self, peer: Hashable, item: T) -> bool:
        """Leave an item beside the unread ones of this peer; False where there are too many."""
        if self._letters.get(peer, 0) >= LETTERS_MAX:
            return False
        self._letters[peer] = self._letters.get(peer, 0) + 1
        self._numbers += 1
        self.put(("letter", peer, self._numbers), item)
        return True

    def put_back(self, key: Hashable, item: T) -> None:
        """Undo a `get`, unless something newer came under the key meanwhile."""
        if key not in self._waiting:
            self._waiting[key] = item
            self._waiting.move_to_end(key, last=False)
            if isinstance(key, tuple) and key[0] == "letter":
                self._letters[key[1]] = self._letters.get(key[1], 0) + 1
        self._filled.set()

    def fail(self, fault: BaseException) -> None:
        """Make every `get` raise this from now on, once what waits is read."""
        self._fault = fault
        self._filled.set()

    async def get(self) -> tuple[Hashable, T]:
        """The oldest unread item, with its key; waits for one."""
        while not self._waiting:
            if self._fault is not None:
                raise self._fault
            self._filled.clear()
            await self._filled.wait()
        key, item = self._waiting.popitem(last=False)
        if isinstance(key, tuple) and key[0] == "letter":
            self._letters[key[1]] -= 1
        return key, item
