"""How an agent does, as `agent.health()` tells it: a dict, which a notebook shows as a table."""

from __future__ import annotations

from typing import Any

from ._html import card
from .outbox import PRIORITIES

TROUBLES = {
    "refused_frames": "refused frames",
    "refused_messages": "refused messages",
    "refused_cards": "refused cards",
    "unknown_frames": "unknown frames",
    "bounces": "bounced frames",
}


class Health(dict[str, Any]):
    """What `agent.health()` gives: a dict of what was so at that moment. See there for the entries."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return card("Health", self._rows())

    def _rows(self) -> dict[str, object]:
        rtt = self.get("rtt")
        return {
            "link": self._link(),
            "round trip": None if rtt is None else f"{rtt * 1000:.1f} ms",
            "reconnects": f"{self.get('reconnects', 0)}, resumed {self.get('resumed', 0)}",
            "peers": f"{self.get('peers', 0)}, linked {self.get('peers_linked', 0)}",
            **{f"queued {lane}": waits for lane in PRIORITIES if (waits := self._queued(lane))},
            "unconfirmed": self.get("unconfirmed"),
            "inbox": self.get("inbox"),
            "calls": self.get("calls"),
            "handlers": self.get("handlers"),
            "skills": ", ".join(self.get("skills", ())),
            "errors": ", ".join(f"{count} {words}" for name, words in TROUBLES.items() if (count := self.get(name))) or "none",
            "link error": self.get("link_error"),
            "save error": self.get("save_error"),
        }

    def _link(self) -> str:
        if not self.get("open", True):
            return "closed"
        return str(self.get("switchboard")) if self.get("linked") else "none"

    def _queued(self, lane: str) -> str:
        messages, size = self.get("queued", {}).get(lane, (0, 0))
        if lane == "control" and not messages:
            return ""
        return f"{messages}, {size} bytes"
