# SPDX-License-Identifier: MIT
"""The ends of connections that a test plays itself: clients, and the application behind."""

import contextlib
import errno
import select
import selectors
import socket
import struct
import threading

from limits import DEADLINE

# Close sends a reset instead of a FIN.
LINGER_RESET = struct.pack("ii", 1, 0)


def split(address):
    """("127.0.0.1", 80) of "127.0.0.1:80"; IPv6 stands in brackets."""
    host, port = address.rsplit(":", 1)
    return host.strip("[]"), int(port)


def join(name):
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Peer:
    """One end of a connection. No operation waits longer than DEADLINE."""

    def __init__(self, sock, reset_seen=False):
        self.socket = sock
        self.socket.settimeout(DEADLINE)
        self.reset_seen = reset_seen
        if sock.family == socket.AF_UNIX:
            self.address = "unix:"
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.address = join(sock.getsockname())

    def send(self, data):
        self.socket.sendall(data)

    def offer(self, data):
        """Send to someone who may have reset the connection already, which then only this sees."""
        try:
            self.send(data)
        except ConnectionResetError:
            self.reset_seen = True
        except BrokenPipeError:
            pass

    def receive(self, size):
        """Exactly @size bytes."""
        data = bytearray()
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            assert piece, f"the other side ended after {bytes(data)!r}"
            data += piece
        return bytes(data)

    def receive_rest(self):
        """Everything up to the other side's orderly end."""
        data = bytearray()
        while piece := self.socket.recv(65536):
            data += piece
        return bytes(data)

    def exchange(self, data):
        """For an application that echoes."""
        self.send(data)
        assert self.receive(len(data)) == data

    def finish(self):
        """Nothing more will be sent; receiving goes on."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        self.socket.close()

    def was_reset(self):
        """The other side ended by a reset, whatever came before it."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            return True
        return self.reset_seen

    def was_reset_after_its_end(self):
        """The same once the other side has ended in order, when recv() would only say that."""
        poller = select.poll()
        poller.register(self.socket, 0)  # errors are always reported
        poller.poll(DEADLINE * 1000)
        error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return error in (errno.ECONNRESET, errno.EPIPE)

    def ended(self):
        """Waits for the end and says whether it was in order and without another byte."""
        return self.socket.recv(1) == b""

    def wait_for_end(self):
        """In whatever way it ends."""
        with contextlib.suppress(ConnectionResetError):
            self.receive_rest()

    def close(self):
        self.socket.close()


def _connect(sock, target):
    """Returns whether the server has reset the connection so soon that connect() reports it."""
    try:
        sock.connect(target)
        return False
    except ConnectionResetError:
        return True


def open_peer(address, source=None, receive_buffer=None):
    """Connect to "IP:PORT" or "unix:/path", from the address @source if given."""
    if address.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        target = address.removeprefix("unix:")
    else:
        target = split(address)
        sock = socket.socket(socket.AF_INET6 if ":" in target[0] else socket.AF_INET)
    try:
        sock.settimeout(DEADLINE)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            sock.bind((source, 0))
        return Peer(sock, reset_seen=_connect(sock, target))
    except BaseException:
        sock.close()
        raise


class Backend:
    """The application, played by the test: it accepts when the test says so."""

    def __init__(self, address="127.0.0.1:0", backlog=64, receive_buffer=None):
        if address.startswith("unix:"):
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(address.removeprefix("unix:"))
            self.address = address
        else:
            target = split(address)
            self.listener = socket.socket(socket.AF_INET6 if ":" in target[0] else socket.AF_INET)
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind(target)
            self.address = join(self.listener.getsockname())
        if receive_buffer:  # accepted sockets inherit it
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.listener.listen(backlog)
        self.listener.settimeout(DEADLINE)
        self.accepted = []

    def accept(self):
        peer = Peer(self.listener.accept()[0])
        self.accepted.append(peer)
        return peer

    def was_reached(self):
        """Is a connection waiting to be accepted?"""
        self.listener.setblocking(False)
        try:
            self.accept()
            return True
        except BlockingIOError:
            return False
        finally:
            self.listener.settimeout(DEADLINE)

    def close(self):
        self.listener.close()
        for peer in self.accepted:
            peer.close()


class Echo:
    """An application for many clients at once: sends back what it receives."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.listener.setblocking(False)
        self.address = join(self.listener.getsockname())
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ, self._accept)
        self.wake_reader, self.wake_writer = socket.socketpair()
        self.selector.register(self.wake_reader, selectors.EVENT_READ, None)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    return
                key.data(key.fileobj)

    def _accept(self, listener):
        with contextlib.suppress(BlockingIOError):
            while True:
                sock = listener.accept()[0]
                self.selector.register(sock, selectors.EVENT_READ, self._echo)

    def _echo(self, sock):
        try:
            data = sock.recv(65536)
            sock.sendall(data)
        except OSError:
            data = b""
        if not data:
            self.selector.unregister(sock)
            sock.close()

    def close(self):
        self.wake_writer.send(b"x")
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()
        self.wake_writer.close()
