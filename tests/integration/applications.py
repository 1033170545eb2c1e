# SPDX-License-Identifier: MIT
"""Real applications that know nothing of the PROXY protocol.

Each is a context manager that runs one from its Debian package, in a directory and on a loopback
port of its own, and yields where it is."""

import contextlib
import glob
import signal
from types import SimpleNamespace

from processes import (SERVICE_USER, directory, free_port, listening_on, output_of, own, running,
                       supervised, written)


@contextlib.contextmanager
def postgresql(port=None):
    """.address, .socket ("unix:…") and .user; nobody needs a password."""
    programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
    port = port or free_port()
    with directory(SERVICE_USER) as path:
        output_of(supervised([f"{programs}/initdb", "--no-sync", "--auth=trust", "--username=test",
                              "--no-locale", "--encoding=UTF8", "-D", f"{path}/data"],
                             SERVICE_USER))
        server = [f"{programs}/postgres", "-D", f"{path}/data", "-k", path, "-p", port, "-h",
                  "127.0.0.1", "-c", "fsync=off"]
        with running(server, lambda output: "ready to accept connections" in output, SERVICE_USER,
                     stop_signal=signal.SIGINT):
            yield SimpleNamespace(address=f"127.0.0.1:{port}",
                                  socket=f"unix:{path}/.s.PGSQL.{port}", user="test")


@contextlib.contextmanager
def redis(port=None):
    port = port or free_port()
    with directory() as path:
        server = ["redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", path, "--save",
                  "", "--appendonly", "no"]
        with running(server, listening_on(port)):
            yield SimpleNamespace(address=f"127.0.0.1:{port}")


@contextlib.contextmanager
def nginx():
    """Answers with the number of the connection and of the request on it."""
    port = free_port()
    with directory() as path:
        config = written(path / "nginx.conf", f"""
            daemon off;
            master_process off;
            pid {path}/pid;
            error_log stderr;
            events {{ }}
            http {{
                access_log off;
                client_body_temp_path {path}/body;
                proxy_temp_path {path}/proxy;
                fastcgi_temp_path {path}/fastcgi;
                uwsgi_temp_path {path}/uwsgi;
                scgi_temp_path {path}/scgi;
                server {{
                    listen 127.0.0.1:{port};
                    location / {{ return 200 "$connection $connection_requests\\n"; }}
                }}
            }}
            """)
        with running(["nginx", "-p", path, "-e", "stderr", "-c", config], listening_on(port)):
            yield SimpleNamespace(address=f"127.0.0.1:{port}")


@contextlib.contextmanager
def sshd(port=None):
    """.command(option, …) is the ssh command line that logs in with that option."""
    port = port or free_port()
    with directory(SERVICE_USER) as path, directory() as client_path:
        for key in (path / "host", client_path / "user"):
            output_of(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
        keys = path / "authorized_keys"
        keys.write_bytes((client_path / "user.pub").read_bytes())
        config = written(path / "sshd_config", f"""
            ListenAddress 127.0.0.1:{port}
            HostKey {path}/host
            AuthorizedKeysFile {keys}
            PidFile none
            StrictModes no
            UsePAM no
            """)
        user = output_of(["id", "-un"]).decode().strip()
        if SERVICE_USER:
            user = SERVICE_USER
            for file in path.iterdir():
                own(file, user)

        def command(option, *remote):
            return ["ssh", "-F", "none", "-i", client_path / "user",
                    "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
                    "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                    "-o", option, f"{user}@127.0.0.1", *remote]

        with running(["/usr/sbin/sshd", "-D", "-e", "-f", config], listening_on(port),
                     SERVICE_USER):
            yield SimpleNamespace(address=f"127.0.0.1:{port}", command=command)
