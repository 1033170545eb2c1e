# SPDX-License-Identifier: MIT
"""Real applications that know nothing of the PROXY protocol.

Each is a context manager that runs one from its Debian package, in a directory and on a port of its
own, and yields where it is. @hosts are the addresses that it listens on; .address has the first."""

import contextlib
import glob
import signal
from types import SimpleNamespace

from peer import join
from processes import (SERVICE_USER, directory, free_port, listening_on, output_of, own, running,
                       supervised, written)


LOOPBACK = ("127.0.0.1",)


@contextlib.contextmanager
def postgresql(port=None, hosts=LOOPBACK, hba=None):
    """.address, .port, .socket ("unix:…") and .user; nobody needs a password. @hba says who else may come in,
    one rule a line."""
    programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
    port = port or free_port()
    with directory(SERVICE_USER) as path:
        output_of(supervised([f"{programs}/initdb", "--no-sync", "--auth=trust", "--username=test",
                              "--no-locale", "--encoding=UTF8", "-D", f"{path}/data"],
                             SERVICE_USER))
        if hba:
            (path / "data/pg_hba.conf").write_text(hba)
        server = [f"{programs}/postgres", "-D", f"{path}/data", "-k", path, "-p", port, "-h",
                  ",".join(hosts), "-c", "fsync=off"]
        with running(server, lambda output: "ready to accept connections" in output, SERVICE_USER,
                     stop_signal=signal.SIGINT):
            yield SimpleNamespace(address=join((hosts[0], port)), port=port,
                                  socket=f"unix:{path}/.s.PGSQL.{port}", user="test")


@contextlib.contextmanager
def redis(port=None, hosts=LOOPBACK, options=()):
    port = port or free_port()
    with directory() as path:
        server = ["redis-server", "--bind", *hosts, "--port", port, "--dir", path, "--save", "",
                  "--appendonly", "no", *options]
        with running(server, listening_on(port)):
            yield SimpleNamespace(address=join((hosts[0], port)), port=port)


@contextlib.contextmanager
def nginx(hosts=LOOPBACK, answer="$connection $connection_requests"):
    """Answers with the number of the connection and of the request on it, or with @answer."""
    port = free_port()
    listen = " ".join(f"listen {join((host, port))};" for host in hosts)
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
                    {listen}
                    location / {{ return 200 "{answer}\\n"; }}
                }}
            }}
            """)
        with running(["nginx", "-p", path, "-e", "stderr", "-c", config], listening_on(port)):
            yield SimpleNamespace(address=join((hosts[0], port)), port=port)


@contextlib.contextmanager
def sshd(port=None, hosts=LOOPBACK):
    """.command(option, …) is the ssh command line that logs in with that option."""
    port = port or free_port()
    listen = [f"-oListenAddress={join((host, port))}" for host in hosts]
    with directory(SERVICE_USER) as path, directory() as client_path:
        for key in (path / "host", client_path / "user"):
            output_of(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
        keys = path / "authorized_keys"
        keys.write_bytes((client_path / "user.pub").read_bytes())
        config = written(path / "sshd_config", f"""
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

        with running(["/usr/sbin/sshd", "-D", "-e", "-f", config, *listen], listening_on(port),
                     SERVICE_USER):
            yield SimpleNamespace(address=join((hosts[0], port)), port=port, command=command)
