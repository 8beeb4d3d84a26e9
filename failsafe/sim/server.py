"""The listening socket and the threads behind it."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable

from failsafe.sim.connection import ClientGone, Connection
from failsafe.sim.record import Record

_MOST_CONNECTIONS = 1024
_BACKLOG = 1024
_LOOK_AGAIN = 0.01  # seconds between two looks at the clock, where the clock opens and closes the port
_ABORT_LIMIT = 0.05  # seconds for a thread to notice by itself
_JOIN_LIMIT = 5.0  # seconds; every thread ends within milliseconds unless it computes


class Server:
    """
    Accepts connections on 127.0.0.1 and serves each in a daemonic thread of its own. Thread-safe.

    Args:
        name: What the threads are called after.
        port: The port; 0 takes a free one.
        record: Where connections and bytes are counted.
        serve: Serves one connection to its end, in the connection's own thread.
        refuses: Whether connecting is refused at this moment.
    """

    def __init__(
        self,
        name: str,
        port: int,
        record: Record,
        serve: Callable[[Connection], None],
        refuses: Callable[[], bool],
    ) -> None:
        self.stopping = threading.Event()
        """Set by :meth:`stop`."""
        self.follows_time = False
        """Whether *refuses* may change by itself; then it is asked every 10 ms."""
        self._name = name
        self._record = record
        self._serve = serve
        self._refuses = refuses
        self._lock = threading.Lock()
        self._connections: dict[Connection, threading.Thread] = {}  # guarded by _lock
        self._settled = threading.Condition(self._lock)
        self._looks_wanted = 0  # guarded by _lock
        self._looks_done = 0  # guarded by _lock
        self._reservation = _bound_socket(port)
        self.port: int = self._reservation.getsockname()[1]
        """The port it listens on."""
        self._listener: socket.socket | None = _listening_socket(self.port)  # the accepting thread's own
        self._wake_reader, self._waker = socket.socketpair()
        self._waker.settimeout(0)
        self._thread = threading.Thread(target=self._accept_loop, name=f"failsafe-sim-{name}", daemon=True)

    def start(self) -> None:
        """Begin to accept."""
        self._thread.start()

    def look_again(self) -> None:
        """Ask *refuses* now, and return when the listening socket is as it says."""
        with self._settled:
            self._looks_wanted += 1
            mine = self._looks_wanted
            self._wake()
            self._settled.wait_for(lambda: self._looks_done >= mine or self.stopping.is_set(), _JOIN_LIMIT)

    def stop(self) -> None:
        """Close every socket, whatever is in progress, and join every thread. Does nothing the second time."""
        with self._settled:
            if self.stopping.is_set():
                return
            self.stopping.set()
            self._settled.notify_all()
        self._wake()
        self._thread.join(_JOIN_LIMIT)
        with self._lock:
            serving = dict(self._connections)
        for connection in serving:
            connection.interrupt()
        for thread in serving.values():
            thread.join(_JOIN_LIMIT)
        for sock in (self._wake_reader, self._waker, self._reservation):
            sock.close()

    def open_connections(self) -> int:
        """How many connections are open now."""
        with self._lock:
            return len(self._connections)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: a wake-up is on its way already
            self._waker.send(b"\0")

    def _accept_loop(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_reader, selectors.EVENT_READ)
            self._watch(selector)
            while not self.stopping.is_set():
                ready = selector.select(_LOOK_AGAIN if self.follows_time else None)
                for key, _ in ready:
                    if key.fileobj is self._wake_reader:
                        self._wake_reader.recv(4096)
                self._settle(selector)
                if any(key.fileobj is self._listener for key, _ in ready):
                    self._accept()
            self._unwatch(selector)

    def _settle(self, selector: selectors.BaseSelector) -> None:
        """Open or close the listening socket as the plan says now."""
        with self._lock:
            wanted = self._looks_wanted
        refuses = self._refuses()
        if refuses and self._listener is not None:
            self._unwatch(selector)
            self._reset_all()
        elif not refuses and self._listener is None:
            self._listener = _listening_socket(self.port)
            self._watch(selector)
        with self._settled:
            self._looks_done = wanted
            self._settled.notify_all()

    def _watch(self, selector: selectors.BaseSelector) -> None:
        if self._listener is not None:
            selector.register(self._listener, selectors.EVENT_READ)

    def _unwatch(self, selector: selectors.BaseSelector) -> None:
        if self._listener is not None:
            selector.unregister(self._listener)
            self._listener.close()
            self._listener = None

    def _reset_all(self) -> None:
        """Reset every connection; those that are stuck in sending see the end of the stream first."""
        with self._lock:
            serving = dict(self._connections)
        for connection in serving:
            connection.abort()
        patience = _ABORT_LIMIT
        for connection, thread in serving.items():
            thread.join(patience)
            if thread.is_alive():
                patience = 0.0  # the others have had as long
                connection.interrupt()

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return  # the client was gone before it was let in
        except OSError:  # no file descriptor left, most likely; the client waits in the queue
            self.stopping.wait(_LOOK_AGAIN)
            return
        with self._lock:
            full = len(self._connections) >= _MOST_CONNECTIONS
        if full:
            sock.close()
            return
        connection = Connection(sock, self._record, self.stopping)
        thread = threading.Thread(
            target=self._serve_connection,
            args=(connection,),
            name=f"failsafe-sim-{self._name}-{connection.number}",
            daemon=True,
        )
        with self._lock:
            self._connections[connection] = thread
        thread.start()

    def _serve_connection(self, connection: Connection) -> None:
        try:
            self._serve(connection)
        except ClientGone:
            return
        finally:
            connection.close()
            with self._lock:
                del self._connections[connection]


def _bound_socket(port: int) -> socket.socket:
    """
    A socket bound to *port* that does not listen: it keeps the port ours while connecting is refused.

    Linux lets sockets with SO_REUSEADDR share a port as long as only one of them listens (socket(7)).
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("127.0.0.1", port))
    except BaseException:
        sock.close()
        raise
    return sock


def _listening_socket(port: int) -> socket.socket:
    sock = _bound_socket(port)
    sock.listen(_BACKLOG)
    sock.settimeout(0)
    return sock
