# SPDX-License-Identifier: MIT
"""Certificates for one run: an authority, a server and a client."""

from types import SimpleNamespace

from processes import output_of

SERVER_NAME = "db.example.test"
CLIENT_NAME = "client.example.test"


def create(directory):
    """Paths: .authority, .server (key and certificate in one file, as HAProxy wants), .client."""
    authority = _issue(directory, "authority", "Test Authority", ["-x509", "-days", "2"])
    signed = ["-x509", "-days", "2", "-CA", authority, "-CAkey", authority]
    return SimpleNamespace(
        authority=authority,
        server=_issue(directory, "server", SERVER_NAME, signed),
        client=_issue(directory, "client", CLIENT_NAME, signed))


def _issue(directory, name, common_name, options):
    key, certificate = directory / f"{name}.key", directory / f"{name}.crt"
    output_of(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
               "-nodes", "-subj", f"/CN={common_name}", "-keyout", key, "-out", certificate,
               *options])
    both = directory / f"{name}.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    return both
