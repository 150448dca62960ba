import asyncio

import pytest

from p2pfl.transport.mailbox import LETTERS_MAX, Mailbox


async def test_the_newest_of_a_kind_takes_the_place_of_the_older() -> None:
    mailbox: Mailbox[int] = Mailbox()
    assert not mailbox.put("a", 1)
    assert not mailbox.put("b", 2)
    assert mailbox.put("a", 3)
    assert "a" in mailbox
    assert len(mailbox) == 2
    assert [await mailbox.get(), await mailbox.get()] == [("a", 3), ("b", 2)]


async def test_letters_stand_side_by_side_up_to_a_bound_per_peer() -> None:
    mailbox: Mailbox[int] = Mailbox()
    assert all(mailbox.put_letter("a", number) for number in range(LETTERS_MAX))
    assert not mailbox.put_letter("a", 99)
    assert mailbox.put_letter("b", 99)
    assert [(await mailbox.get())[1] for _ in range(LETTERS_MAX)] == list(range(LETTERS_MAX))
    assert mailbox.put_letter("a", 100)


async def test_getting_waits_for_an_item() -> None:
    mailbox: Mailbox[int] = Mailbox()
    waiting = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    mailbox.put("a", 1)
    assert await waiting == ("a", 1)


async def test_an_item_put_back_is_the_next_unless_a_newer_came() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put("a", 1)
    key, item = await mailbox.get()
    mailbox.put("b", 2)
    mailbox.put_back(key, item)
    assert await mailbox.get() == ("a", 1)
    mailbox.put("a", 3)
    mailbox.put_back("a", 1)
    assert [await mailbox.get(), await mailbox.get()] == [("b", 2), ("a", 3)]
    mailbox.put_letter("p", 7)
    mailbox.put_back(*await mailbox.get())
    assert (await mailbox.get())[1] == 7


async def test_a_fault_is_raised_after_what_waits_is_read() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put("a", 1)
    mailbox.fail(ValueError("broken"))
    assert await mailbox.get() == ("a", 1)
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            await mailbox.get()
    assert repr(mailbox) == "Mailbox(0 waiting)"
