"""What goes wrong in a run, and when: drawn from a seed, so that a run can be made again, as far as real processes allow.

The switchboard is killed every few seconds. Beside that, receivers are killed and stopped, and the network of single agents goes wrong in each
way that the chaos proxy knows. Each trouble has a beginning and an end; when the storm is over, all ends.
"""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chaos.journal import now
from chaos.world import Agent, World

RELAY_LIVES: Final = (2.0, 5.0)  # seconds between two kills of the switchboard
PAUSES: Final = (0.2, 1.2)  # seconds between two other troubles
LASTS: Final = (0.3, 3.0)  # seconds of a trouble
GRAIN: Final = 0.05  # seconds between two looks at the clock

# How often each trouble is drawn.
TROUBLES: Final = {
    "kill receiver": 4,
    "stop receiver": 3,
    "cut": 3,
    "reset": 3,
    "lose": 3,
    "flip": 3,
    "stall": 2,
    "drip": 2,
    "swallow": 2,
    "limit": 2,
    "delay": 2,
}
DEEDS: Final = frozenset({"cut", "reset", "lose", "flip"})  # of the network, done once


@dataclass(frozen=True, slots=True)
class Calm:
    """What a storm was."""

    seconds: float
    troubles: Counter[str]


class Storm:
    """Plays troubles until it is told to end."""

    def __init__(self, world: World, seed: int, *, half_open_until_noticed: bool) -> None:
        self._world = world
        self._dice = random.Random(seed)
        self._half_open_until_noticed = half_open_until_noticed
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._troubled: set[str] = set()  # agents whose network has a trouble that lasts
        self._undo: dict[str, Callable[[], None]] = {}
        self.troubles: Counter[str] = Counter()

    def blow(self, over: Callable[[], bool], limit: float) -> Calm:
        """Plays until `over()` holds, which is to be within `limit` seconds, and ends all trouble."""
        begin = now()
        self._after(self._dice.uniform(*RELAY_LIVES), self._kill_relay)
        self._after(self._dice.uniform(*PAUSES), self._trouble)
        while not over():
            assert now() < begin + limit, f"the senders have not finished within {limit:.0f} s"
            while self._due and self._due[0][0] <= now():
                heapq.heappop(self._due)[2]()
            self.troubles["receiver could not open"] += self._world.tend()
            time.sleep(GRAIN)
        self.calm()
        return Calm(now() - begin, self.troubles)

    def calm(self) -> None:
        """Ends all trouble."""
        self._due.clear()
        for agent in self._world.agents:
            agent.proxy.order("clear")
        for receiver in self._world.receivers:
            self._world.go_on(receiver)
            if receiver.process is None:
                self._world.start(receiver)

    def _after(self, seconds: float, deed: Callable[[], None]) -> None:
        heapq.heappush(self._due, (now() + seconds, next(self._numbers), deed))

    def _kill_relay(self) -> None:
        self.troubles["kill switchboard"] += 1
        self._world.relay.restart()
        self._after(self._dice.uniform(*RELAY_LIVES), self._kill_relay)

    def _trouble(self) -> None:
        self._after(self._dice.uniform(*PAUSES), self._trouble)
        kind = self._dice.choices(list(TROUBLES), list(TROUBLES.values()))[0]
        agents = self._world.receivers if kind.endswith("receiver") else self._world.agents
        agent = self._dice.choice(agents)
        seconds = self._dice.uniform(*LASTS)
        match kind:
            case "kill receiver":
                self._kill(agent, seconds)
            case "stop receiver":
                self._stop(agent, seconds)
            case _:
                self._spoil_network(agent, kind, seconds)

    def _kill(self, receiver: Agent, seconds: float) -> None:
        if receiver.process is not None:
            self.troubles["kill receiver"] += 1
            self._world.kill(receiver)
            self._after(seconds / 2, lambda: self._world.start(receiver))

    def _stop(self, receiver: Agent, seconds: float) -> None:
        if receiver.process is not None and not receiver.stopped:
            self.troubles["stop receiver"] += 1
            self._world.stop(receiver, seconds)
            self._after(seconds, lambda: self._world.go_on(receiver))

    def _spoil_network(self, agent: Agent, kind: str, seconds: float) -> None:
        if agent.name in self._troubled:
            return
        dice = self._dice
        way = dice.choice(["up", "down", "both"])
        orders = {
            "lose": f"lose {way} {dice.randint(0, 20_000)}",
            "flip": f"flip {way}",
            "limit": f"limit {way} {dice.randint(5_000, 200_000)}",
            "delay": f"delay {way} {dice.uniform(0.01, 0.5):.3f}",
        }
        self.troubles[kind] += 1
        agent.proxy.order(orders.get(kind) or (kind if kind in DEEDS else f"{kind} {way}"))
        if kind in DEEDS:
            return
        self._troubled.add(agent.name)
        self._after(seconds, lambda: self._clear(agent, kind))

    def _clear(self, agent: Agent, kind: str) -> None:
        self._troubled.discard(agent.name)
        agent.proxy.order("clear")
        if kind == "swallow" and not self._half_open_until_noticed:
            agent.proxy.order("reset")
