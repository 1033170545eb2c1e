# SPDX-License-Identifier: MIT
"""What systemd does for a service that it opened sockets for (sd_listen_fds(3))."""

import sys

# Puts the descriptors that it is given from 3 on, and becomes the program behind "--".
LAUNCHER = """
import fcntl, os, sys

end = sys.argv.index("--")
low = [int(number) for number in sys.argv[1:end]]
high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in low]
for fd in low:
    os.close(fd)
for number, fd in enumerate(high):
    os.dup2(fd, 3 + number)
    os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)))
os.execvp(sys.argv[end + 1], sys.argv[end + 1:])
"""


def passing(*sockets, names=None):
    """Options for a Daemon that is passed @sockets."""
    numbers = [sock.fileno() for sock in sockets]
    return {"prefix": [sys.executable, "-c", LAUNCHER, *map(str, numbers), "--"],
            "pass_fds": numbers,
            "environment": {"LISTEN_FDNAMES": ":".join(names)} if names else {}}
