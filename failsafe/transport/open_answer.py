"""An answer whose body is read piece by piece, as it comes."""

from __future__ import annotations

from collections.abc import Mapping

import requests

from failsafe.deadline import Deadline
from failsafe.models import Failure
from failsafe.transport import mapping
from failsafe.transport.body import CHUNK, Unpacker
from failsafe.transport.exchange import Exchange


class OpenBody:
    """
    The :class:`failsafe.transport.base.OpenAnswer` of the requests transport.

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
        self._over = False

    @property
    def bytes_received(self) -> int:
        """Bytes of the body read off the wire."""
        return self._exchange.received

    def read(self, limit: Deadline) -> bytes | Failure:
        """What comes next, by *limit*; ``b""`` at the proper end. See :class:`failsafe.transport.base.OpenAnswer`."""
        if self._over:
            return b""
        exchange = self._exchange
        exchange.limit = limit
        self._reading = True
        goes_on = False
        try:
            piece = self._next_piece()
            exchange.check()  # cancelled before it, or meanwhile: then it may look like the end of the answer
            goes_on = bool(piece)
        except Exception as error:  # noqa: BLE001 -- foreign exceptions carry the request and its key: they end here
            failure = mapping.failure(error, exchange, self._peer)
        except BaseException as interruption:  # noqa: BLE001 -- raised again, without the frames that hold the key
            interruption.__context__ = None
            raise interruption.with_traceback(None) from None
        else:
            return piece
        finally:
            self._reading = False
            if not goes_on:
                self._over = True
                exchange.end()
        return failure

    def _next_piece(self) -> bytes:
        unpacker = self._unpacker
        if self._plain:
            return self._read_on()
        while True:
            packed = b"" if unpacker.pending else self._read_on()
            piece = unpacker.unpack(packed)
            if piece or unpacker.pending:
                return piece
            if not packed:
                return self._end()

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

    def close(self) -> None:
        """Give up what was not read; from any thread."""
        self._over = True
        if self._reading:
            self._exchange.cancel()  # the thread that reads ends it
        else:
            self._exchange.cancelled = True
            self._exchange.end()
