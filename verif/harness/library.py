"""The functions of ``harness.h``, called from Python."""

import ctypes
import enum

__all__ = ["Goal", "Map", "Status", "load_library"]


class Status(enum.IntEnum):
    """What a run returns; ``harness_status`` of ``harness.h``."""

    DONE = 0
    LIMIT = 1
    INTERRUPTED = 2
    STALLED = 3
    UNEXPECTED = 4
    WRONG_LAST = 5
    BAD_RESPONSE = 6
    NO_RESULT = 7
    BROKEN_PROMISE = 8


class Goal(enum.IntEnum):
    """What ends a run; ``harness_goal`` of ``harness.h``."""

    CYCLES = 0
    WRITTEN = 1
    RESULT = 2
    IDLE = 3


class Map(ctypes.Structure):
    """Addresses and sizes; ``harness_map`` of ``harness.h``."""

    _fields_ = [
        (name, ctypes.c_uint32)
        for name in ("commands_done", "status", "status_busy", "queue_depth")
    ]


_POINTER, _U32, _U64 = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64
_SIGNATURES = {
    "harness_create": (_POINTER, [ctypes.POINTER(Map)]),
    "harness_destroy": (None, [_POINTER]),
    "harness_reset": (None, [_POINTER]),
    "harness_beat_bytes": (_U32, []),
    "harness_strip_bytes": (_U32, []),
    "harness_issue": (_U64, [_POINTER, _POINTER, _U64, _POINTER, _POINTER, _U64, _U64]),
    "harness_write": (None, [_POINTER, _U32, _U32]),
    "harness_read": (ctypes.c_int, [_POINTER, _U32, ctypes.POINTER(_U32)]),
    "harness_run": (ctypes.c_int, [_POINTER, ctypes.c_int, _U64, _U64]),
    "harness_take": (ctypes.c_int, [_POINTER, _U64, _POINTER]),
    "harness_ended": (_U64, [_POINTER, _U64]),
    "harness_forget": (None, [_POINTER]),
    "harness_watch_interrupt": (None, [_POINTER, ctypes.c_int]),
    "harness_watchdog": (None, [_POINTER, _U64]),
    "harness_stalls": (None, [_POINTER, _U32, _U32, _U32, _U64]),
    "harness_cycles": (_U64, [_POINTER]),
    "harness_interrupt": (ctypes.c_int, [_POINTER]),
    "harness_promise": (ctypes.c_int, [_POINTER]),
    "harness_beats_left": (_U64, [_POINTER]),
}


def load_library(path):
    """Load a library of :mod:`verif.harness.build`, and say what its functions take."""
    library = ctypes.CDLL(str(path))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
