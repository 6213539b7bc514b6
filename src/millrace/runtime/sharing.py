"""Fair slots: queues share the calls that may run at once, and none waits for another's backlog."""

import asyncio
from collections.abc import Mapping, Sequence


def next_name(held: Mapping[str, int], waiting: Sequence[str], size: int) -> str | None:
    """Say whose turn it is, or None while nobody may have a slot.

    Args:
        held: Slots by name; each name stands here, with 0 if it has none.
        waiting: Who waits, in the order of asking.
        size: All slots; no fewer than there are names.
    """
    if not waiting:
        return None
    name = min(waiting, key=held.__getitem__)  # of equals the first
    free = size - sum(held.values())
    kept = sum(slots == 0 for slots in held.values())  # everybody else can have a first one at once
    return name if free > (kept if held[name] else 0) else None


class FairSlots:
    """As many slots as `size`, but one for each name at least."""

    def __init__(self, size: int, names: Sequence[str]) -> None:
        self._held = dict.fromkeys(names, 0)
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []
        self.size = max(size, len(self._held))

    async def take(self, name: str) -> None:
        """Wait for a slot.

        Raises:
            KeyError: the name is none of those that share.
        """
        if name not in self._held:
            raise KeyError(f"{name!r} is none of {', '.join(self._held)}")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((name, turn))
        self._grant()
        try:
            await turn
        except asyncio.CancelledError:
            self._forget(name, turn)
            raise

    def give_back(self, name: str) -> None:
        """Let somebody else have it."""
        self._held[name] -= 1
        self._grant()

    def _grant(self) -> None:
        while (name := next_name(self._held, [waiter for waiter, _ in self._waiting], self.size)) is not None:
            place = next(place for place, (waiter, _) in enumerate(self._waiting) if waiter == name)
            _, turn = self._waiting.pop(place)
            if not turn.done():
                self._held[name] += 1
                turn.set_result(None)

    def _forget(self, name: str, turn: asyncio.Future[None]) -> None:
        if (name, turn) in self._waiting:
            self._waiting.remove((name, turn))
        elif not turn.cancelled():  # it was granted in the same moment
            self.give_back(name)
