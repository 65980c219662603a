"""A small TCP proxy between workers and PostgreSQL that cuts and hangs connections."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path

CHUNK = 65536


class Proxy:
    """Listens on 127.0.0.1 and passes bytes on to a Unix socket."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._open = threading.Event()
        self._open.set()
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._left: int | None = None
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def cut(self) -> None:
        """End every connection in both directions, in the middle of whatever it was doing."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._end(pair)

    def cut_after(self, size: int) -> None:
        """Cut the connection over which the `size`-th byte from now goes to the server."""
        with self._lock:
            self._left = size

    def never_mind(self) -> None:
        """Forget what `cut_after` was told."""
        with self._lock:
            self._left = None

    def hang(self) -> None:
        """Keep connections open and pass nothing on, in either direction."""
        self._open.clear()

    def go_on(self) -> None:
        """Pass on what waited."""
        self._open.set()

    def close(self) -> None:
        self._open.set()
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                server.connect(str(self._target))
            except OSError:
                client.close()
                server.close()
                continue
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = (client, server)
            with self._lock:
                self._pairs.add(pair)
            for source, sink in (pair, pair[::-1]):
                threading.Thread(
                    target=self._pump, args=(pair, source, sink), name="proxy", daemon=True
                ).start()

    def _pump(
        self,
        pair: tuple[socket.socket, socket.socket],
        source: socket.socket,
        sink: socket.socket,
    ) -> None:
        try:
            while data := source.recv(CHUNK):
                self._open.wait()
                if source is pair[0]:
                    passed = self._allowed(len(data))
                    sink.sendall(data[:passed])
                    if passed < len(data):
                        break
                else:
                    sink.sendall(data)
        except OSError:
            pass  # cut, or the other side went away: both sides learn of it below
        finally:
            self._end(pair)

    def _allowed(self, size: int) -> int:
        with self._lock:
            if self._left is None or self._left >= size:
                if self._left is not None:
                    self._left -= size
                return size
            allowed, self._left = self._left, None
            self.cuts += 1
            return allowed

    def _end(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock:
            self._pairs.discard(pair)
        for one in pair:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
