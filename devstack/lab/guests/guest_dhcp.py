"""DHCP for a zone's guests: each gets the address that Neutron has for its port, and the zone a route to it.

    guest_dhcp.py NEUTRON_CONF ADDRESS_OF_THE_ZONE

There is no wire between guests: each is alone with the zone on a tap device, and the zone answers on it for all
others (proxy ARP).

Nothing is kept here. The port is looked up in Neutron's database at each question, by its hardware address; who has
no port that is bound gets no answer, and asks again.
"""

import configparser
import socket
import struct
import subprocess
import sys
import urllib.parse
from ipaddress import IPv4Address, IPv4Network

import pymysql

MAGIC = b"\x63\x82\x53\x63"
HEAD = struct.Struct("!4B I 2H 4s 4s 4s 4s 16s 64s 128s 4s")
MESSAGE, SERVER, LEASE, MASK, PAD, END = 53, 54, 51, 1, 0, 255
# A question and its answer: discover and offer, request and acknowledgement.
ANSWERS = {1: 2, 3: 5}
FOR_EVER = b"\xff\xff\xff\xff"
BROADCAST = 0x8000
# Has the kernel say which device a question came in by, and be told which one its answer goes out by. Python has no
# name for it.
IP_PKTINFO = 8
DEVICE = struct.Struct("=i4s4s")
Place = tuple[IPv4Address, IPv4Network]
Url = urllib.parse.SplitResult
# What is asked, the transaction, the hardware address.
Asked = tuple[int, int, bytes]
PORT = """
SELECT a.ip_address, s.cidr FROM ports p JOIN ml2_port_bindings b ON b.port_id = p.id
JOIN ipallocations a ON a.port_id = p.id JOIN subnets s ON s.id = a.subnet_id
WHERE p.mac_address = %s AND b.vif_type = 'tap' AND b.status = 'ACTIVE' AND s.ip_version = 4 LIMIT 1
"""


def look_up(url: Url, mac: str) -> Place | None:
    """The address and its network, or None."""
    database = pymysql.connect(
        host=url.hostname,
        port=url.port,
        user=url.username,
        password=urllib.parse.unquote(url.password),
        database=url.path.lstrip("/"),
        connect_timeout=5,
        read_timeout=5,
    )
    with database, database.cursor() as cursor:
        cursor.execute(PORT, (mac,))
        found = cursor.fetchone()
    return found and (IPv4Address(found[0]), IPv4Network(found[1]))


def kind(question: bytes) -> Asked | None:
    """What is asked there; None for what is no question."""
    if len(question) < HEAD.size:
        return None
    op, _, length, _, transaction, *_, hardware, _, _, magic = HEAD.unpack_from(question)
    if (op, length, magic) != (1, 6, MAGIC):
        return None
    rest = question[HEAD.size :]
    while rest and rest[0] != END:
        if rest[0] == PAD:
            rest = rest[1:]
            continue
        if len(rest) < 2:
            return None
        if rest[0] == MESSAGE and len(rest) > 2 and rest[2] in ANSWERS:
            return rest[2], transaction, hardware
        rest = rest[2 + rest[1] :]
    return None


def answer(asked: Asked, server: IPv4Address, place: Place) -> bytes:
    (what, transaction, hardware), (address, network) = asked, place
    nobody = bytes(4)
    head = HEAD.pack(
        *(2, 1, 6, 0, transaction, 0, BROADCAST, nobody, address.packed, server.packed, nobody),
        *(hardware, b"", b"", MAGIC),
    )
    options = [
        (MESSAGE, bytes([ANSWERS[what]])),
        (SERVER, server.packed),
        (LEASE, FOR_EVER),
        (MASK, network.netmask.packed),
    ]
    return head + b"".join(bytes([o, len(v)]) + v for o, v in options) + bytes([END])


def connect(device: str, address: IPv4Address) -> None:
    """Has the zone send what is for the guest to it, and answer it for all others, without the usual pause before."""
    subprocess.run(["ip", "route", "replace", f"{address}/32", "dev", device], check=True)  # noqa: S603, S607
    for setting, value in [(f"conf/{device}/proxy_arp", "1"), (f"neigh/{device}/proxy_delay", "0")]:
        with open(f"/proc/sys/net/ipv4/{setting}", "w") as file:
            file.write(value)


def serve(sock: socket.socket, url: Url, server: IPv4Address) -> None:
    """Answers one question."""
    question, notes, _, _ = sock.recvmsg(4096, 256)
    asked = kind(question)
    index = next(DEVICE.unpack(data)[0] for _, note, data in notes if note == IP_PKTINFO)
    device = socket.if_indextoname(index)
    if asked is None or not device.startswith("tap"):
        return
    mac = asked[2][:6].hex(":")
    found = look_up(url, mac)
    print(device, mac, *(found or ["has no port that is bound"]), file=sys.stderr, flush=True)
    if found:
        connect(device, found[0])
        out = (socket.IPPROTO_IP, IP_PKTINFO, DEVICE.pack(index, bytes(4), bytes(4)))
        sock.sendmsg([answer(asked, server, found)], [out], 0, ("255.255.255.255", 68))


def main(conf: str, address: str) -> None:
    parser = configparser.RawConfigParser(strict=False)
    parser.read(conf)
    url = urllib.parse.urlsplit(parser["database"]["connection"])
    server = IPv4Address(address)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    sock.bind(("", 67))
    while True:
        try:
            serve(sock, url, server)
        # The guest asks again.
        except (OSError, subprocess.CalledProcessError, pymysql.Error) as error:
            print(error, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
