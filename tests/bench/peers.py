"""The programs that are compared: how each is started as a PROXY protocol receiver on 127.0.0.1.

Each is configured as its manual recommends for this job and nothing more: no access log, long timeouts, as many
workers as asked for with SO_REUSEPORT between them.
"""

import json
import shutil
from dataclasses import dataclass
from typing import Callable

ADMIN_PORT = 7003

NGINX_STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"


@dataclass
class Peer:
    name: str
    binary: str
    # (binary, folder for its files, port to listen on, port of the backend, workers) -> argv
    arrange: Callable
    has_master: bool = False   # a process that only watches over the workers
    transparent: bool = False  # connects from the client's address: needs the routes for it
    scraped: bool = False      # its metrics are read ten times a second meanwhile

    def command(self, folder, port, backend, workers):
        return self.arrange(self.binary, folder, port, backend, workers)

    def processes(self, workers):
        return 1 + workers if self.has_master else 1

    def available(self):
        return shutil.which(self.binary) is not None


def unproxy(log=False, transparent=False, admin=False, **listener):
    def arrange(binary, folder, port, backend, workers):
        config = {
            "workers": workers,
            "log": {"access": log, "output": str(folder / "log")},
            **({"admin": {"listen": f"127.0.0.1:{ADMIN_PORT}"}} if admin else {}),
            "listeners": [{
                "listen": f"127.0.0.1:{port}",
                "upstream": f"127.0.0.1:{backend}",
                "trusted_proxies": ["127.0.0.0/8"],
                "allow_loopback_clients": True,
                "transparent": transparent,
                **listener,
            }],
        }
        (folder / "unproxy.json").write_text(json.dumps(config))
        return [binary, "run", "-c", folder / "unproxy.json"]
    return arrange


def haproxy(splice=False):
    def arrange(binary, folder, port, backend, workers):
        forced = "option splice-request\n    option splice-response" if splice else ""
        (folder / "haproxy.cfg").write_text(f"""
global
    nbthread {workers}
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    {forced}
listen bench
    bind 127.0.0.1:{port} accept-proxy shards by-thread backlog 4096
    server backend 127.0.0.1:{backend}
""")
        return [binary, "-db", "-f", folder / "haproxy.cfg"]
    return arrange


def nginx(binary, folder, port, backend, workers):
    (folder / "nginx.conf").write_text(f"""
load_module {NGINX_STREAM};
daemon off;
user root;
worker_processes {workers};
pid {folder}/nginx.pid;
error_log stderr error;
events {{
    worker_connections 12500;
}}
stream {{
    access_log off;
    server {{
        listen 127.0.0.1:{port} proxy_protocol reuseport backlog=4096;
        proxy_pass 127.0.0.1:{backend};
        proxy_half_close on;
        proxy_timeout 1h;
    }}
}}
""")
    return [binary, "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"]


def go_mmproxy(binary, folder, port, backend, workers):
    # GOMAXPROCS is what bounds its threads; -listeners opens one SO_REUSEPORT socket each.
    return ["env", f"GOMAXPROCS={workers}", binary, "-l", f"127.0.0.1:{port}",
            "-4", f"127.0.0.1:{backend}", "-6", f"[::1]:{backend}", "-listeners", workers]


def mmproxy_rs(binary, folder, port, backend, workers):
    # Its log is at level debug unless told otherwise.
    return ["env", f"TOKIO_WORKER_THREADS={workers}", "RUST_LOG=error", binary, "-l", f"127.0.0.1:{port}",
            "-4", f"127.0.0.1:{backend}", "-6", f"[::1]:{backend}", "--listeners", workers]


def known(args):
    """All peers that can be named, unproxy first; those whose binary is not there are left out."""
    peers = [
        Peer("unproxy", args.unproxy, unproxy()),
        Peer("unproxy-log", args.unproxy, unproxy(log=True)),
        Peer("unproxy-admin", args.unproxy, unproxy(admin=True), scraped=True),
        Peer("unproxy-limits", args.unproxy, unproxy(
            clients={"allow": ["0.0.0.0/0", "::/0"], "deny": ["203.0.113.0/25"]}, max_connections_per_client=100000,
            connection_rate_per_client={"per_second": 1000000})),
        Peer("unproxy-other", args.other_unproxy, unproxy()),
        Peer("unproxy-transparent", args.unproxy, unproxy(transparent=True), transparent=True),
        Peer("haproxy", "haproxy", haproxy()),
        Peer("haproxy-splice", "haproxy", haproxy(splice=True)),
        Peer("nginx", "nginx", nginx, has_master=True),
        Peer("go-mmproxy", args.go_mmproxy, go_mmproxy, transparent=True),
        Peer("mmproxy-rs", args.mmproxy_rs, mmproxy_rs, transparent=True),
    ]
    return [p for p in peers if p.binary and p.available()]
