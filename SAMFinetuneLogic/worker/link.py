"""Messages over a socket on this machine, between two processes that share a key.

``multiprocessing.connection`` waits: for the other side to accept, to take a message, to finish one. A user interface
must not, so its end of the socket never blocks: what does not fit now is sent with the next look, and a message
counts once all of it is here. Sockets on 127.0.0.1 work alike on Windows, macOS and Linux.
"""

import hmac
import socket
import struct
import time
from collections import deque
from contextlib import suppress
from math import inf

_HEADER = struct.Struct("<Q")
_CHUNK_BYTES = 1 << 20
_SOCKET_BUFFER = 4 << 20
_HANDSHAKE_BYTES = 64
"""No message of the handshake is longer: a stranger cannot make us allocate more."""


class Link:
    """The end of a connection that never waits.

    Attributes:
        closed: whether the other side is gone.
    """

    def __init__(self, connection: socket.socket, limit: int | None = None) -> None:
        prepare(connection)
        connection.setblocking(False)
        self.closed = False
        self.limit = limit
        self._socket = connection
        self._outgoing: deque[memoryview] = deque()
        self._header = bytearray()
        self._body: bytearray | None = None
        self._filled = 0

    @property
    def unsent(self) -> int:
        """Bytes that wait for the other side."""
        return sum(len(part) for part in self._outgoing)

    def send(self, message: bytes) -> None:
        """Queue a message and send what fits now."""
        self._outgoing.append(memoryview(_HEADER.pack(len(message))))
        self._outgoing.append(memoryview(message))
        self.flush()

    def flush(self) -> None:
        """Send what fits now."""
        try:
            while self._outgoing and not self.closed:
                part = self._outgoing[0]
                sent = self._socket.send(part[:_CHUNK_BYTES]) if len(part) else 0
                if sent == len(part):
                    self._outgoing.popleft()
                else:
                    self._outgoing[0] = part[sent:]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.closed = True

    def receive(self, seconds: float = 0.02, most: float = inf) -> list[bytes]:
        """The messages that are complete, ``most`` at most; stops after ``seconds`` even if more has arrived."""
        messages: list[bytes] = []
        until = time.perf_counter() + seconds
        try:
            while not self.closed and len(messages) < most and time.perf_counter() < until:
                message = self._advance()
                if message is not None:
                    messages.append(message)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.closed = True
        return messages

    def close(self) -> None:
        """Hang up."""
        self.closed = True
        with suppress(OSError):
            self._socket.close()

    def _advance(self) -> bytes | None:
        if self._body is None:
            part = self._socket.recv(_HEADER.size - len(self._header))
            if not part:
                self.closed = True
                return None
            self._header += part
            if len(self._header) < _HEADER.size:
                return None
            (length,) = _HEADER.unpack(self._header)
            if self.limit is not None and length > self.limit:
                self.close()
                return None
            self._header.clear()
            self._body, self._filled = bytearray(length), 0
        if self._filled < len(self._body):
            count = self._socket.recv_into(memoryview(self._body)[self._filled :][:_CHUNK_BYTES])
            if not count:
                self.closed = True
                return None
            self._filled += count
        if self._filled < len(self._body):
            return None
        message, self._body = bytes(self._body), None
        return message


class Greeting:
    """The listening side's part of the handshake: both sides show that they know the key, and neither sends it.

    Args:
        connection: just accepted.
        key: shared with the process that is expected.
        nonce: random bytes.
    """

    def __init__(self, connection: socket.socket, key: bytes, nonce: bytes) -> None:
        self.link = Link(connection, _HANDSHAKE_BYTES)
        self._key, self._nonce = key, nonce
        self._expected: bytes | None = None

    def advance(self) -> bool:
        """Whether the other side has shown that it knows the key; the link is closed if it does not."""
        while messages := self.link.receive(most=1):  # what follows the handshake is not for us
            (message,) = messages
            if self._expected is None:
                self._expected = _proof(self._key, b"child", message, self._nonce)
                self.link.send(self._nonce)
                self.link.send(_proof(self._key, b"parent", message, self._nonce))
            elif hmac.compare_digest(message, self._expected):
                self.link.limit = None
                return True
            else:
                self.link.close()
        return False


def connect(port: int, key: bytes, nonce: bytes) -> socket.socket:
    """The connecting side: a blocking socket after the handshake.

    Raises:
        ConnectionError: nobody listens, or a stranger does.
    """
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.settimeout(None)  # the other side may be busy; should it end, so does this process
    prepare(connection)
    write_message(connection, nonce)
    theirs = read_message(connection, _HANDSHAKE_BYTES)
    proof = read_message(connection, _HANDSHAKE_BYTES)
    if not hmac.compare_digest(proof, _proof(key, b"parent", nonce, theirs)):
        raise ConnectionError("The process that listens is not the one that started this one.")
    write_message(connection, _proof(key, b"child", nonce, theirs))
    return connection


def prepare(connection: socket.socket) -> None:
    """Small messages go at once, and a slice fits the buffers."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER)


def write_message(connection: socket.socket, message: bytes) -> None:
    """Send on a blocking socket."""
    connection.sendall(_HEADER.pack(len(message)))
    connection.sendall(message)


def read_message(connection: socket.socket, limit: int | None = None) -> bytes:
    """Receive on a blocking socket.

    Raises:
        ConnectionError: the other side is gone, or sends more than ``limit`` bytes.
    """
    (length,) = _HEADER.unpack(_read(connection, _HEADER.size))
    if limit is not None and length > limit:
        raise ConnectionError("The other side does not speak this language.")
    return _read(connection, length)


def _read(connection: socket.socket, length: int) -> bytes:
    content = bytearray(length)
    view, filled = memoryview(content), 0
    while filled < length:
        count = connection.recv_into(view[filled : filled + _CHUNK_BYTES])
        if not count:
            raise ConnectionError("The other side is gone.")
        filled += count
    return bytes(content)


def _proof(key: bytes, side: bytes, child_nonce: bytes, parent_nonce: bytes) -> bytes:
    return hmac.digest(key, side + child_nonce + parent_nonce, "sha256")
