# SPDX-License-Identifier: MIT
"""PROXY headers, built from the specification alone: nothing here comes from the C encoder."""

import ipaddress
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

# Where the tests' clients come from unless something else matters: documentation addresses.
CLIENT = "203.0.113.7:40001"
DESTINATION = "198.51.100.1:443"

ALPN, AUTHORITY, CRC32C, NOOP, UNIQUE_ID, SSL, NETNS = 0x01, 0x02, 0x03, 0x04, 0x05, 0x20, 0x30
SSL_VERSION, SSL_CN, SSL_CIPHER, SSL_SIG_ALG, SSL_KEY_ALG = 0x21, 0x22, 0x23, 0x24, 0x25
AWS, AZURE, GCP = 0xEA, 0xEE, 0xE0

STREAM, DATAGRAM = 1, 2


def _split(address):
    host, port = address.rsplit(":", 1)
    return ipaddress.ip_address(host.strip("[]")), int(port)


def v1(source=CLIENT, destination=DESTINATION):
    (from_ip, from_port), (to_ip, to_port) = _split(source), _split(destination)
    return f"PROXY TCP{from_ip.version} {from_ip} {to_ip} {from_port} {to_port}\r\n".encode()


def v2(source=CLIENT, destination=DESTINATION, tlvs=b"", crc=False, transport=STREAM):
    """A PROXY command."""
    (from_ip, from_port), (to_ip, to_port) = _split(source), _split(destination)
    family = 1 if from_ip.version == 4 else 2
    addresses = from_ip.packed + to_ip.packed + struct.pack("!HH", from_port, to_port)
    return v2_raw(0x21, family << 4 | transport, addresses + tlvs, crc)


def v2_local(body=b"", crc=False):
    return v2_raw(0x20, 0x00, body, crc)


def v2_raw(version_and_command, family_and_transport, body, crc=False):
    """The fixed part and @body, with a right CRC32C TLV at the end if @crc."""
    if crc:
        body += tlv(CRC32C, bytes(4))
    header = SIGNATURE + struct.pack("!BBH", version_and_command, family_and_transport, len(body))
    header += body
    return header[:-4] + struct.pack("!I", crc32c(header)) if crc else header


def tlv(kind, value):
    return struct.pack("!BH", kind, len(value)) + value


def ssl_tlv(client, verify, *parts):
    return tlv(SSL, struct.pack("!BI", client, verify) + b"".join(parts))


def _crc32c_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


CRC32C_TABLE = _crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC32C_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


# A real health check of an AWS Network Load Balancer, as recorded (kubernetes/kubernetes#57250):
# LOCAL, a family but no addresses, a right CRC32C, padding to 100 bytes.
NLB_HEALTH_CHECK = SIGNATURE + bytes.fromhex("20110054" "030004bce5951f" "04004a") + bytes(74)

VPC_ENDPOINT = "vpce-08d2bf15fac5001c9"


def nlb_privatelink(source=CLIENT, destination=DESTINATION):
    """What an NLB sends for a connection through PrivateLink: 100 bytes, the CRC first."""
    (from_ip, from_port), (to_ip, to_port) = _split(source), _split(destination)
    before = SIGNATURE + bytes.fromhex("21110054") + from_ip.packed + to_ip.packed
    before += struct.pack("!HH", from_port, to_port) + bytes.fromhex("030004")
    after = tlv(AWS, b"\x01" + VPC_ENDPOINT.encode())
    after += tlv(NOOP, bytes(100 - len(before) - 4 - len(after) - 3))
    return before + struct.pack("!I", crc32c(before + bytes(4) + after)) + after
