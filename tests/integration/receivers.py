# SPDX-License-Identifier: MIT
"""Other programs that take the PROXY header off, for what the README says of them."""

import contextlib

from processes import directory, free_port, listening_on, running, written


@contextlib.contextmanager
def haproxy(server, options=""):
    """Its address, when it is in front of @server, which may have @options."""
    port = free_port()
    with directory() as path:
        config = written(path / "haproxy.cfg", f"""
            defaults
                mode tcp
                timeout connect 5s
                timeout client 60s
                timeout server 60s
            listen in
                bind 127.0.0.1:{port} accept-proxy
                server application {server} {options}
            """)
        with running(["haproxy", "-db", "-f", config], listening_on(port)):
            yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def nginx(server, options=""):
    """The same; @options go into its `server` block."""
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
                    listen 127.0.0.1:{port} proxy_protocol;
                    set_real_ip_from 10.0.0.0/8;
                    proxy_pass {server};
                    {options}
                }}
            }}
            """)
        with running(["nginx", "-p", path, "-e", "stderr", "-c", config], listening_on(port)):
            yield f"127.0.0.1:{port}"
