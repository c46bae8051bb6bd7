"""What the registers of a table hold and say, for use in the bench of the register block."""

import random
from collections import Counter

__all__ = ["OKAY", "SLVERR", "RegisterModel", "pick", "place"]

OKAY, SLVERR = 0, 2


def pick(register, word):
    """Pack the fields of a word as the ports do."""
    packed = taken = 0
    for field in register.fields:
        packed |= (word >> field.low & (1 << field.bits) - 1) << taken
        taken += field.bits
    return packed


def place(register, packed):
    """Put the fields of a port in a word."""
    word = 0
    for field in register.fields:
        word |= (packed & (1 << field.bits) - 1) << field.low
        packed >>= field.bits
    return word


class RegisterModel:
    """Registers, write by write.

    Parameters
    ----------
    table : dict of int to Register
        Registers by offset.
    constants : dict of str to int
        Words of the registers that never change, by name.
    """

    def __init__(self, table, constants):
        self.table = table
        self.constants = constants
        #: How often each situation was met, and each ``wo`` register was written; may be reset.
        self.met = Counter()
        self.words = dict.fromkeys(table, 0)
        #: Name and packed value of every write of a ``wo`` register.
        self.events = []

    def _registers(self, *access):
        return [register for register in self.table.values() if register.access in access]

    def write(self, address, data, strobes):
        """Return the response to a write."""
        register = self.table.get(address & ~3)
        self.met.update(
            unknown_written=register is None,
            read_only_written=register is not None and register.access == "ro",
            partly_written=0 < strobes < 15,
        )
        if register is None or register.access == "ro":
            return SLVERR
        mask = sum(0xFF << 8 * k for k in range(4) if strobes >> k & 1)
        fields = place(register, (1 << 32) - 1)
        held = self.words[register.offset]
        if register.access == "rw":
            self.words[register.offset] = (held & ~mask | data & mask) & fields
        elif register.access == "w1c":
            self.met.update(cleared=held & data & mask != 0)
            self.words[register.offset] = held & ~(data & mask)
        elif strobes:
            self.met[register.name] += 1
            self.events.append((register.name, pick(register, data & mask)))
        return OKAY

    def read(self, address):
        """Return word and response of a read."""
        register = self.table.get(address & ~3)
        self.met.update(unknown_read=register is None)
        if register is None:
            return 0, SLVERR
        if register.name in self.constants:
            return self.constants[register.name], OKAY
        return self.words[register.offset], OKAY

    def poke(self, dut, everything=False):
        """Change what the hardware reports, and set bits at random, or all of them."""
        for register in self._registers("ro"):
            if register.name not in self.constants and random.random() < 0.3:
                packed = pick(register, random.getrandbits(32))
                getattr(dut, register.name.lower()).value = packed
                self.words[register.offset] = place(register, packed)
        for register in self._registers("w1c"):
            word = random.getrandbits(32) if random.random() < 0.3 else 0
            packed = pick(register, (1 << 32) - 1 if everything else word)
            getattr(dut, f"{register.name.lower()}_set").value = packed
            self.words[register.offset] |= place(register, packed)

    def ports(self):
        """Return what the ports of the settings and of the sticky bits show, by name."""
        return {
            register.name.lower(): pick(register, self.words[register.offset])
            for register in self._registers("rw", "w1c")
        }
