# SPDX-License-Identifier: MIT
"""How long and how much: the numbers that a slow build or a small machine may change."""

import ctypes
import os
import resource

PR_SET_CHILD_SUBREAPER = 36

# UNPROXY_TEST_SLOW=1 is for sanitizer and valgrind builds: every tolerance grows by this factor.
SLOW = 4 if os.environ.get("UNPROXY_TEST_SLOW") == "1" else 1

# How long to wait for what must happen [s]. Nothing that passes ever waits this long.
DEADLINE = 15 * SLOW

# How much too early a timeout may seem [ms]: an event loop counts from its last look at the clock.
CLOCK_MS = 10 * SLOW

# Bytes each way of a bulk transfer [MiB].
BULK_MIB = int(os.environ.get("UNPROXY_TEST_MIB", "256"))

# Connections of the tests with many idle ones.
CROWD = 5000


def allow_many_descriptors():
    """Raise our own soft limit: the test holds the client side of every connection."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def adopt_orphans():
    """What a program that we started leaves behind becomes our child, whose end we can wait for."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descriptors_allowed():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
