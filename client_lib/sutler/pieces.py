"""The pieces of an answer between the one who reads them and the one who takes them.

A mixin for both clients' asks, which make ``pieces`` before all else. ``over``: the end of
the answer, good or bad, has arrived.
"""

from sutler.pending import CHUNK, Asked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Deque, Dict, Optional

    from sutler.pending import Lost, Waiter

#: Pieces that nobody takes pile up while somebody else reads. From this many on they are
#: joined, so that they cost no more than the text they are.
_JOIN_FROM = 1024
_JOINED_CHARS = 64 * 1024


class Piecewise(Asked):
    pieces: "Deque[Dict[str, Any]]"
    over: bool = False

    def renew(self) -> None:
        super().renew()
        self.pieces.clear()
        self.over = False

    def deliver(self, kind: int, payload: "Any") -> "Waiter":
        if kind != CHUNK:
            self.over = True
            return super().deliver(kind, payload)
        if not self._joined(payload):
            self.pieces.append(payload)
        self.ready = True
        return self

    def lose(self, lost: "Lost") -> "Waiter":
        if not self.over:
            self.failure = lost
            self.over = self.ready = True
        return self

    def take(self) -> "Optional[Dict[str, Any]]":
        """Take the next piece; None if there is none now. ``ready`` stays if more is there.

        In this order, because another thread may be delivering.
        """
        piece = self.pieces.popleft() if self.pieces else None
        self.ready = False
        if self.pieces or self.over:
            self.ready = True
        return piece

    def _joined(self, piece: "Dict[str, Any]") -> bool:
        if len(self.pieces) < _JOIN_FROM or not _is_text(piece):
            return False
        try:
            last = self.pieces[-1]
            if not _is_text(last) or len(last["delta"]) > _JOINED_CHARS:
                return False
            # A new object, not the old one changed: that one may just be being taken.
            self.pieces[-1] = {"id": last["id"], "delta": last["delta"] + piece["delta"]}
        except IndexError:  # all were taken meanwhile
            return False
        return True


def _is_text(piece: "Dict[str, Any]") -> bool:
    return set(piece) == {"id", "delta"} and isinstance(piece["delta"], str)


def chunk_of(piece: "Dict[str, Any]") -> "Dict[str, Any]":
    return {name: piece[name] for name in piece if name != "id"}
