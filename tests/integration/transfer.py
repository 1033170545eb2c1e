# SPDX-License-Identifier: MIT
"""Bulk data in odd pieces, with digests of what went in and what came out."""

import hashlib
import random
import selectors
import time
from concurrent.futures import ThreadPoolExecutor

from limits import DEADLINE

# Random bytes that pieces are cut from; making new ones would take longer than sending them.
POOL = memoryview(random.Random(7700).randbytes(8 << 20))
LARGEST_PIECE = 512 << 10


def _piece_size(numbers):
    """A few bytes one time in four, otherwise up to the largest."""
    return numbers.randint(1, 100 if numbers.random() < 0.25 else LARGEST_PIECE)


def _pause_now_and_then(numbers):
    """So that both ends run dry and full in turn: a part of the traffic, nothing waits for it."""
    if numbers.random() < 0.05:
        time.sleep(numbers.uniform(0, 0.003))


def send_bulk(peer, size, seed):
    """Send @size bytes, then end. Returns their SHA-256."""
    numbers = random.Random(seed)
    digest = hashlib.sha256()
    while size > 0:
        length = min(_piece_size(numbers), size)
        start = numbers.randrange(len(POOL) - length)
        piece = POOL[start:start + length]
        peer.send(piece)
        digest.update(piece)
        size -= length
        _pause_now_and_then(numbers)
    peer.finish()
    return digest.hexdigest()


def receive_bulk(peer, seed):
    """Receive to the end. Returns the SHA-256."""
    numbers = random.Random(seed)
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(LARGEST_PIECE))
    while received := peer.socket.recv_into(buffer[:_piece_size(numbers)]):
        digest.update(buffer[:received])
        _pause_now_and_then(numbers)
    return digest.hexdigest()


def check_bulk(*ways, size):
    """Send @size bytes each of @ways, pairs of sender and receiver, at once; compare digests."""
    with ThreadPoolExecutor(2 * len(ways)) as threads:
        work = [(threads.submit(send_bulk, sender, size, 2 * i),
                 threads.submit(receive_bulk, receiver, 2 * i + 1))
                for i, (sender, receiver) in enumerate(ways)]
        for sent, received in work:
            assert sent.result() == received.result()


def send_until_stopped(peers, quiet=0.5):
    """Send on all of @peers until none has taken a byte for @quiet seconds.

    Returns for each how much of POOL, over and over, it took."""
    taken = dict.fromkeys(peers, 0)
    with selectors.DefaultSelector() as selector:
        for peer in peers:
            peer.socket.setblocking(False)
            selector.register(peer.socket, selectors.EVENT_WRITE, peer)
        while ready := selector.select(quiet):
            for key, _ in ready:
                start = taken[key.data] % len(POOL)
                taken[key.data] += key.fileobj.send(POOL[start:start + LARGEST_PIECE])
    for peer in peers:
        peer.socket.settimeout(DEADLINE)
    return [taken[peer] for peer in peers]


def pool_digest(size):
    """The SHA-256 of what send_until_stopped() sends in @size bytes."""
    digest = hashlib.sha256()
    while size > 0:
        digest.update(POOL[:size])
        size -= len(POOL)
    return digest.hexdigest()
