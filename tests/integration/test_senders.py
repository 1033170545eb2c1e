# SPDX-License-Identifier: MIT
"""Headers of real load balancers. Their client is this machine, hence allow_loopback_clients."""

import ssl

import pytest

import certificates
import senders
from peer import Peer
from processes import output_of, wait_until


@pytest.fixture
def receiver(unproxy):
    """Start a daemon that takes clients on loopback."""
    return lambda upstream, **keys: unproxy(upstream, allow_loopback_clients=True, **keys)


def converse(client, backend):
    """Both ways through, and nothing but what was said. Returns the application's end."""
    client.send(b"question")
    application = backend.accept()
    assert application.receive(8) == b"question"
    application.send(b"answer")
    assert client.receive(6) == b"answer"
    return application


@pytest.mark.parametrize("option, version", [("send-proxy", 1), ("send-proxy-v2", 2)])
def test_haproxy(receiver, sender, connect, backend, option, version):
    daemon = receiver(backend.address)
    client = connect(sender(senders.haproxy, daemon.address, option))
    application = converse(client, backend)
    client.finish()
    assert application.ended()
    application.close()
    assert client.ended()
    line = daemon.connection(client=client.address)
    assert line["version"] == version
    assert line["outcome"] == "finished"


def test_haproxy_tells_of_the_tls_connection(receiver, sender, connect, closing, backend, pki):
    daemon = receiver(backend.address)
    proxy = sender(
        senders.haproxy, daemon.address,
        "send-proxy-v2 proxy-v2-options ssl,cert-cn,ssl-cipher,crc32c,unique-id,authority",
        bind_options=f"ssl crt {pki.server} ca-file {pki.authority} verify optional")
    context = ssl.create_default_context(cafile=pki.authority)
    context.check_hostname = False  # the certificate has a common name only
    context.load_cert_chain(pki.client)
    tls = context.wrap_socket(connect(proxy).socket, server_hostname=certificates.SERVER_NAME)
    client = closing(Peer(tls))
    converse(client, backend).close()
    version, cipher = tls.version(), tls.cipher()[0]
    client.close()

    line = daemon.connection(client=client.address)
    assert line["version"] == 2
    assert line["tlv"]["authority"] == certificates.SERVER_NAME
    unique_id = bytes.fromhex(line["tlv"]["unique_id"]).decode()
    assert unique_id.startswith(f"{client.address}-{proxy.address}")
    assert line["tlv"]["ssl"] == {
        "version": version,
        "cipher": cipher,
        "cn": certificates.CLIENT_NAME,
        "client_cert": True,
        "verified": True,
    }


def test_haproxy_tells_of_a_client_without_certificate(receiver, sender, connect, closing, backend,
                                                       pki):
    daemon = receiver(backend.address)
    proxy = sender(senders.haproxy, daemon.address, "send-proxy-v2-ssl",
                   bind_options=f"ssl crt {pki.server} ca-file {pki.authority} verify optional")
    context = ssl.create_default_context(cafile=pki.authority)
    context.check_hostname = False
    client = closing(Peer(context.wrap_socket(connect(proxy).socket)))
    converse(client, backend).close()
    client.close()

    tls = daemon.connection(client=client.address)["tlv"]["ssl"]
    assert tls["client_cert"] is False
    assert tls["verified"] is False


@pytest.mark.parametrize("option, command", [("send-proxy", "PROXY"), ("send-proxy-v2", "LOCAL")])
def test_haproxy_health_checks_keep_the_server_up(receiver, sender, nginx, option, command):
    daemon = receiver(nginx.address)
    proxy = sender(senders.haproxy, daemon.address,
                   f"{option} check check-send-proxy inter 50ms fall 1",
                   backend_options="option httpchk GET /")
    lines = daemon.wait_for_records(3, event="connection")
    assert {line["command"] for line in lines} == {command}
    wait_until(lambda: proxy.server()["check_status"] == "L7OK", "a check has passed")
    server = proxy.server()
    assert server["status"] == "UP"
    assert server["chkfail"] == "0"


def test_haproxy_checks_of_the_port_alone_are_not_logged_as_trouble(receiver, sender, backend):
    daemon = receiver(backend.address)
    proxy = sender(senders.haproxy, daemon.address, "check inter 50ms fall 1")
    wait_until(lambda: proxy.server()["check_status"] == "L4OK", "a check has passed")
    assert proxy.server()["status"] == "UP"
    assert not daemon.find(event="connection")


def test_nginx_stream(receiver, sender, connect, backend):
    daemon = receiver(backend.address)
    client = connect(sender(senders.nginx_stream, daemon.address))
    converse(client, backend).close()
    assert client.ended()
    line = daemon.connection(client=client.address)
    assert line["version"] == 1
    assert line["outcome"] == "finished"


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_caddy(receiver, sender, nginx, version):
    if not senders.caddy_sends_headers():
        pytest.skip(f"{senders.CADDY} has no proxy_protocol transport (Caddy has it since 2.7)")
    daemon = receiver(nginx.address)
    proxy = sender(senders.caddy, daemon.address, version)
    answers = [output_of(["curl", "--silent", "--fail", f"http://{proxy.address}/"])
               for _ in range(2)]
    assert all(answers)
    line = daemon.wait_for_records(1, event="connection")[0]
    assert line["version"] == int(version[1:])


def test_curl(receiver, nginx):
    daemon = receiver(nginx.address)
    assert senders.curl(f"http://{daemon.address}/").split()[1] == b"1"
    line = daemon.connection(version=1)
    assert line["client"] == line["peer"]
    assert line["destination"] == daemon.address
