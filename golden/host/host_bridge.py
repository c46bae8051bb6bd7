"""Messages by which a host drives a training core over a serial line.

A message is a code, two bytes of an address or a count, and what belongs to it; all numbers are
sent with the lowest byte first.

===========  ====  =======  ==============  ================================================
message      code  header   then            reply
===========  ====  =======  ==============  ================================================
NOTHING      0     none                     0x4E: the bridge is there, and between messages
WRITE        1     address  4 bytes         response of AXI: 0, or 2 for an error
READ         2     address                  response, 4 bytes
SEND         3     count    count beats     0, or 1 if a beat came before the last was taken
SEND_LAST    4     count    count beats     the same; the last beat has TLAST
TAKE         5     count                    for each beat its bytes, and a byte: TLAST
===========  ====  =======  ==============  ================================================

Any other code is answered with 0xFF. The host waits for the reply before it sends the next
message; a byte that comes while TAKE waits for a beat gives up the TAKE and begins a message.
"""

import enum
from collections.abc import Sequence
from typing import Protocol

from nibblegrad.golden.errors import InputError

__all__ = [
    "PRESENT",
    "UNKNOWN",
    "BridgedCore",
    "Code",
    "read",
    "reply",
    "send",
    "take",
    "unpack_beats",
    "write",
]

#: Reply to NOTHING.
PRESENT = 0x4E

#: Reply to an unknown code.
UNKNOWN = 0xFF


class Code(enum.IntEnum):
    """First byte of a message."""

    NOTHING = 0
    WRITE = 1
    READ = 2
    SEND = 3
    SEND_LAST = 4
    TAKE = 5


class BridgedCore(Protocol):
    """What is behind the bridge, as :func:`reply` drives it."""

    def write(self, address: int, value: int) -> int:
        """Write a register, and return the response."""

    def read(self, address: int) -> tuple[int, int]:
        """Return the response and what a register holds."""

    def send(self, beat: bytes, last: bool) -> bool:
        """Bring a beat, and return whether the one before had been taken."""

    def take(self) -> tuple[bytes, bool]:
        """Take a beat, and whether it is the last one."""


def _header(code: Code, what: str, number: int) -> bytes:
    if not 0 <= number < 1 << 16:
        raise InputError(f"{what} must be 0 to 65535, not {number}")
    return bytes([code]) + number.to_bytes(2, "little")


def write(address: int, value: int) -> bytes:
    """Make the message that writes 32 bits to a register.

    Raises
    ------
    InputError
        If the address or the value is out of range.
    """
    if not 0 <= value < 1 << 32:
        raise InputError(f"Value must be 0 to 2^32 - 1, not {value}")
    return _header(Code.WRITE, "Address", address) + value.to_bytes(4, "little")


def read(address: int) -> bytes:
    """Make the message that reads a register.

    Raises
    ------
    InputError
        If the address is out of range.
    """
    return _header(Code.READ, "Address", address)


def send(beats: Sequence[bytes], last: bool) -> bytes:
    """Make the message that sends beats; ``last`` says whether a matrix ends with them.

    Raises
    ------
    InputError
        If there are more than 65,535 beats.
    """
    code = Code.SEND_LAST if last else Code.SEND
    return _header(code, "Count of beats", len(beats)) + b"".join(beats)


def take(count: int) -> bytes:
    """Make the message that takes beats of results.

    Raises
    ------
    InputError
        If the count is out of range.
    """
    return _header(Code.TAKE, "Count of beats", count)


def unpack_beats(reply_bytes: bytes, beat_bytes: int) -> list[tuple[bytes, bool]]:
    """Cut the reply to TAKE into beats, each with whether it is the last one of its matrix."""
    step = beat_bytes + 1
    cut = [reply_bytes[k : k + step] for k in range(0, len(reply_bytes), step)]
    return [(beat[:-1], bool(beat[-1])) for beat in cut]


def reply(message: bytes, core: BridgedCore, beat_bytes: int) -> bytes:
    """Answer a message as the bridge does.

    Parameters
    ----------
    message : bytes
        One whole message.
    core : BridgedCore
        What is driven.
    beat_bytes : int
        Bytes of a beat that is sent.
    """
    code, header = message[0], int.from_bytes(message[1:3], "little")
    body = message[3:]
    if code == Code.NOTHING:
        return bytes([PRESENT])
    if code == Code.WRITE:
        return bytes([core.write(header, int.from_bytes(body, "little"))])
    if code == Code.READ:
        response, value = core.read(header)
        return bytes([response]) + value.to_bytes(4, "little")
    if code in (Code.SEND, Code.SEND_LAST):
        lost = False
        for k in range(header):
            beat = body[k * beat_bytes : (k + 1) * beat_bytes]
            lost |= not core.send(beat, code == Code.SEND_LAST and k == header - 1)
        return bytes([lost])
    if code == Code.TAKE:
        return b"".join(beat + bytes([last]) for beat, last in (core.take() for _ in range(header)))
    return bytes([UNKNOWN])
