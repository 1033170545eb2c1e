# SPDX-License-Identifier: MIT
"""Real senders of PROXY headers, each a context manager that runs one from its Debian package."""

import contextlib
import csv
import os
import socket
import subprocess
from types import SimpleNamespace

from peer import join
from processes import directory, free_port, listening_on, output_of, running, written

CADDY = os.environ.get("CADDY", "caddy")  # Debian 12's is too old to send headers


class HAProxy:
    def __init__(self, address, stats_socket):
        self.address = address
        self.stats_socket = stats_socket

    def server(self):
        """What HAProxy thinks of its server: the row of `show stat`."""
        with socket.socket(socket.AF_UNIX) as stats:
            stats.connect(str(self.stats_socket))
            stats.sendall(b"show stat\n")
            table = stats.makefile().read().removeprefix("# ")
        rows = csv.DictReader(table.splitlines())
        return next(row for row in rows if row["svname"] == "application")


@contextlib.contextmanager
def haproxy(server, server_options, bind_options="", backend_options="", hosts=("127.0.0.1",)):
    """In TCP mode, in front of @server; .address is on the first of @hosts."""
    port = free_port()
    bind = ",".join(join((host, port)) for host in hosts)
    with directory() as path:
        config = written(path / "haproxy.cfg", f"""
            global
                nbthread 1
                stats socket {path}/stats level admin
            defaults
                mode tcp
                timeout connect 5s
                timeout client 60s
                timeout server 60s
            frontend in
                bind {bind} {bind_options}
                unique-id-format %ci:%cp-%fi:%fp
                default_backend out
            backend out
                {backend_options}
                server application {server} {server_options}
            """)
        with running(["haproxy", "-db", "-f", config], listening_on(port)):
            yield HAProxy(join((hosts[0], port)), path / "stats")


@contextlib.contextmanager
def nginx_stream(server):
    """nginx sends v1 only."""
    port = free_port()
    with directory() as path:
        config = written(path / "nginx.conf", f"""
            load_module /usr/lib/nginx/modules/ngx_stream_module.so;
            daemon off;
            master_process off;
            pid {path}/pid;
            error_log stderr;
            events {{ }}
            stream {{
                server {{
                    listen 127.0.0.1:{port};
                    proxy_pass {server};
                    proxy_protocol on;
                }}
            }}
            """)
        with running(["nginx", "-p", path, "-e", "stderr", "-c", config], listening_on(port)):
            yield SimpleNamespace(address=f"127.0.0.1:{port}")


def _caddyfile(port, server, version):
    return f"""
        {{
            admin off
            auto_https off
        }}
        http://127.0.0.1:{port} {{
            reverse_proxy {server} {{
                transport http {{
                    proxy_protocol {version}
                }}
            }}
        }}
        """


def caddy_sends_headers():
    """Its reverse_proxy has had `proxy_protocol` since 2.7."""
    adapted = subprocess.run([CADDY, "adapt", "--config", "/dev/stdin"], capture_output=True,
                             input=_caddyfile(1, "127.0.0.1:2", "v2").encode())
    return adapted.returncode == 0


@contextlib.contextmanager
def caddy(server, version):
    port = free_port()
    with directory() as path:
        config = written(path / "Caddyfile", _caddyfile(port, server, version))
        command = ["env", f"HOME={path}", f"XDG_DATA_HOME={path}", f"XDG_CONFIG_HOME={path}",
                   CADDY, "run", "--config", config, "--adapter", "caddyfile"]
        with running(command, listening_on(port)):
            yield SimpleNamespace(address=f"127.0.0.1:{port}")


def curl(*urls):
    """curl sends v1 with its own addresses. One connection for all URLs, if the server keeps it."""
    return output_of(["curl", "--silent", "--show-error", "--fail", "--haproxy-protocol", *urls])
