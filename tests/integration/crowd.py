# SPDX-License-Identifier: MIT
"""Thousands of clients that do next to nothing, and one that works all the while."""

import contextlib
import errno
import select
import socket
import threading
import time

import header
from limits import DEADLINE
from peer import open_peer, split


class Crowd:
    """@size connections, watched until the daemon has reset each of them."""

    def __init__(self, address, size):
        self.epoll = select.epoll()
        self.open = {}        # file descriptor to socket
        self.opened_at = {}   # file descriptor to time [s]
        self.waited = []      # from connected to reset, of each that was reset [s]
        self.ended_otherwise = 0
        target = split(address)
        for _ in range(size):
            self._add(socket.create_connection(target, DEADLINE))

    def _add(self, sock):
        sock.setblocking(False)
        self.open[sock.fileno()] = sock
        self.opened_at[sock.fileno()] = time.monotonic()
        self.epoll.register(sock, select.EPOLLIN)

    def watch(self, seconds):
        """Note resets for so long, or until nobody is left."""
        end = time.monotonic() + seconds
        while self.open and (left := end - time.monotonic()) > 0:
            ready = self.epoll.poll(left)
            now = time.monotonic()
            for number, _ in ready:
                error = self.open[number].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                self._ended(number, now, error)

    def send(self, data):
        """To everyone who is still there."""
        for number, sock in list(self.open.items()):
            try:
                sock.send(data)
            except OSError as error:
                self._ended(number, time.monotonic(), error.errno)

    def _ended(self, number, now, error):
        if error == errno.ECONNRESET:
            self.waited.append(now - self.opened_at[number])
        else:
            self.ended_otherwise += 1
        self.open.pop(number).close()

    def close(self):
        for sock in self.open.values():
            sock.close()
        self.epoll.close()


class WorkingClient(threading.Thread):
    """Talks to an echoing application, on one connection and on a new one in turn, until close()."""

    def __init__(self, address):
        super().__init__()
        self.address = address
        self.rounds = 0
        self.slowest = 0  # [s]
        self.error = None
        self._stopping = threading.Event()
        self.start()

    def run(self):
        try:
            with contextlib.closing(self._connect()) as steady:
                while not self._stopping.wait(0.01):
                    self._round(steady)
        except (OSError, AssertionError) as error:
            self.error = error

    def _round(self, steady):
        start = time.monotonic()
        steady.exchange(b"still here?")
        with contextlib.closing(self._connect()) as fresh:
            fresh.exchange(b"anyone?")
        self.slowest = max(self.slowest, time.monotonic() - start)
        self.rounds += 1

    def _connect(self):
        peer = open_peer(self.address)
        peer.send(header.v2())
        return peer

    def close(self):
        self._stopping.set()
        self.join()
