"""An answer whose body is read piece by piece, as it comes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import requests

from failsafe.deadline import Deadline
from failsafe.faults import Fault
from failsafe.models import Failure, Phase
from failsafe.transport import mapping
from failsafe.transport.body import CHUNK, Unpacker
from failsafe.transport.exchange import Exchange


class OpenBody:
    """
    The :class:`failsafe.transport.base.OpenAnswer` of the requests transport.

    One that nobody has read to its end or closed is closed when it is collected as garbage.

    Args:
        response: Its head was read, its body was not.
        exchange: Holds its socket; ended with it.
        peer: Host and port of the server, for messages.

    Raises:
        Unusable: The body is in an encoding nobody asked for.
    """

    def __init__(self, response: requests.Response, exchange: Exchange, peer: str) -> None:
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._raw = response.raw
        self._unpacker = Unpacker(response.raw)
        self._plain = self._unpacker.plain
        final = exchange.final
        self._chunked = final if final is not None and final.chunked else None
        self._exchange = exchange
        self._peer = peer
        self._reading = False
        self._last: bytes | Failure | None = None  # what every further read returns, once it is over

    @property
    def bytes_received(self) -> int:
        """Bytes of the body read off the wire."""
        return self._exchange.received

    def read(self, limit: Deadline) -> bytes | Failure:
        """
        What comes next, by *limit*; ``b""`` at the proper end. See :class:`failsafe.transport.base.OpenAnswer`.

        Once it has ended, every further read says the same; after :meth:`close` that it was cancelled.
        """
        if self._last is not None:
            return self._last
        exchange = self._exchange
        exchange.limit = limit
        self._reading = True
        outcome: bytes | Failure = b""
        goes_on = False
        try:
            outcome = self._read_on() if self._plain else self._unpacked()
            exchange.check()  # cancelled before it, or meanwhile: then it may look like the end of the answer
            goes_on = bool(outcome)
        except Exception as error:  # noqa: BLE001 -- foreign exceptions carry the request and its key: they end here
            outcome = mapping.failure(error, exchange, self._peer)
        except BaseException as interruption:  # noqa: BLE001 -- raised again, without the frames that hold the key
            self._last = self._given_up()
            interruption.__context__ = None
            raise interruption.with_traceback(None) from None
        finally:
            self._reading = False
            if not goes_on or self._last is not None:  # another thread may have closed it while this one was reading
                self._last = outcome if self._last is None else self._last
                exchange.end()
        return outcome

    def _unpacked(self) -> bytes:
        """What comes next, decompressed."""
        unpacker = self._unpacker
        while True:
            if unpacker.pending:
                if self._exchange.limit.expired:  # no socket looks at the time now
                    raise TimeoutError
                piece = unpacker.unpack(b"")
            elif packed := self._read_on():
                piece = unpacker.unpack(packed)
            else:
                return self._end()
            if piece:
                return piece

    def _read_on(self) -> bytes:
        """What comes next, as it is on the wire."""
        if self._chunked is not None:
            # urllib3 would take eight calls to hand on what this one gives; it is shown the end, and takes the socket
            # back.
            piece: bytes = self._chunked.read1(CHUNK)
            if piece:
                self._exchange.taken += len(piece)
                return piece
        self._exchange.resume()
        try:
            last: bytes = self._raw.read1(CHUNK, decode_content=False)
        finally:
            self._exchange.pause()
        return last

    def _end(self) -> bytes:
        if not self._unpacker.whole:
            raise requests.exceptions.ChunkedEncodingError("compressed data cut short")
        return b""

    def _given_up(self) -> Failure:
        return Failure(
            fault=Fault.CANCELLED,
            message="given up while reading the body",
            status=self.status,
            phase=Phase.READ,
            bytes_received=self.bytes_received,
            maybe_billed=True,
        )

    def close(self) -> None:
        """
        Give up what was not read: the socket is closed at once. From any thread.

        A forked child closes its own copy alone. Closing again, or after the end, does nothing.
        """
        if self._last is not None:
            return
        self._last = self._given_up()
        try:
            self._exchange.cancel()  # whoever reads is woken
        finally:
            if not self._reading:  # else the thread that reads ends it
                self._exchange.end()

    def __del__(self) -> None:
        if getattr(self, "_last", b"") is None:
            with suppress(Exception):  # at the end of the interpreter anything may be gone
                self.close()
