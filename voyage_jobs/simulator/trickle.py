"""Heads of answers that take their time, on a real connection."""

from __future__ import annotations

import select
import socket

from voyage_jobs.simulator.messages import Trickle

_INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"


def send_head(connection: socket.socket, head: bytes, trickle: Trickle) -> bool:
    """Send a head byte by byte, or interim answers for ever; False if the client hung up first."""
    at = 0
    while trickle.endless or at < len(head):
        connection.sendall(_INTERIM if trickle.endless else head[at : at + 1])
        at += 1
        if _heard(connection, trickle.seconds):
            return False
    return True


def _heard(connection: socket.socket, seconds: float) -> bool:
    """Whether the client says something within that time; before it has its answer it can only hang up."""
    return bool(select.select([connection], [], [], seconds)[0])
