"""What all streams of server-sent events have in common. Pure.

Bytes may be cut anywhere; pieces come before the failure that followed them in the same
bytes; nothing after the reply counts. A server that does not stream answers with one JSON
body: that is noticed by its first character and read as the whole reply it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sutlerd.domain.reply import Delta, Reply, ToolCallDelta
from sutlerd.providers.contract import AttemptFailed
from sutlerd.providers.dialect import MAX_REPLY_CHARS, MAX_STREAM_LINE_BYTES
from sutlerd.providers.failures import bad_body
from sutlerd.providers.sse import Event, EventSplitter

#: An answer that begins so is no event stream: JSON, or a page of HTML.
_BODY_STARTS = b"{[<"


class EventReader:
    """See ``dialect.StreamReader``. One wire says how it reads an event (``take_event``) and
    what the end of the stream means (``close``); both may raise ``ValueError`` for what cannot
    be read. ``read_whole`` reads a body that turned out to be no stream."""

    def __init__(self, *, read_whole: Callable[[bytes], Reply]) -> None:
        self._read_whole = read_whole
        self._splitter = EventSplitter(MAX_STREAM_LINE_BYTES)
        self._whole: bytearray | None = None
        self._begun: bool = False
        self._done: bool = False
        self._failure: AttemptFailed | None = None
        self._chars = 0

    def take_event(self, event: Event) -> Delta | Reply | None:
        """Read one event; give what it adds, ``None`` if that is nothing to pass on."""
        raise NotImplementedError

    def close(self) -> Reply:
        """Nothing follows: give the reply, or raise that the stream was cut."""
        raise NotImplementedError

    def count_chars(self, number: int) -> None:
        """Add to the length of the reply; raise ``ValueError`` over the limit."""
        self._chars += number
        if self._chars > MAX_REPLY_CHARS:
            raise ValueError(f"a reply over {MAX_REPLY_CHARS} characters")

    def feed(self, data: bytes) -> Sequence[Delta | Reply]:
        if self._failure is not None:
            raise self._failure
        if self._done:
            return ()
        if not self._begun:
            data = data.lstrip()
            if not data:
                return ()
            self._begun = True
            if data[0] in _BODY_STARTS:
                self._whole = bytearray()
        if self._whole is not None:
            self._whole += data
            if len(self._whole) > MAX_STREAM_LINE_BYTES:
                raise bad_body("a body where a stream was asked for, and too long a one")
            return ()
        try:
            events = self._splitter.feed(data)
        except ValueError as error:
            raise _unreadable(error) from None
        return self._read(events, ends=False)

    def eof(self) -> Sequence[Delta | Reply]:
        if self._failure is not None:
            raise self._failure
        if self._done:
            return ()
        if self._whole is not None:
            reply = self._read_whole(bytes(self._whole))
            self._done = True
            return (*as_pieces(reply), reply)
        return self._read(self._splitter.rest(), ends=True)

    def _read(self, events: Sequence[Event], *, ends: bool) -> list[Delta | Reply]:
        """Read events; keep a failure for the next call if there are pieces to give first."""
        items: list[Delta | Reply] = []
        try:
            for event in events:
                item = self.take_event(event)
                if item is None:
                    continue
                items.append(item)
                if isinstance(item, Reply):
                    self._done = True
                    return items
            if ends:
                items.append(self.close())
                self._done = True
        except AttemptFailed as failure:
            self._failure = failure
        except ValueError as error:
            self._failure = _unreadable(error)
        if self._failure is not None and not items:
            raise self._failure
        return items


def _unreadable(error: ValueError) -> AttemptFailed:
    return bad_body(f"the stream cannot be read: {error}")


def as_pieces(reply: Reply) -> tuple[Delta, ...]:
    """Give a reply that came whole as the one piece that it is."""
    calls = tuple(
        ToolCallDelta(index=index, id=call.id, name=call.name, arguments=call.arguments)
        for index, call in enumerate(reply.tool_calls)
    )
    if not reply.content and not reply.reasoning and not calls:
        return ()
    return (Delta(content=reply.content, reasoning=reply.reasoning or "", tool_calls=calls),)
