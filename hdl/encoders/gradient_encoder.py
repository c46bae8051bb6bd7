"""What the cores ask of the encoder of a format of gradients, and which encoder a format has.

An encoder is a component that is made as :class:`nibblegrad.hdl.encoders.fp4_encoder.Fp4Encoder`
is, and has its members and its latencies, which are those of the other encoders beside it.
"""

from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import Fp4Format
from nibblegrad.hdl.encoders.float_encoder import FloatEncoder
from nibblegrad.hdl.encoders.fp4_encoder import Fp4Encoder

__all__ = ["ENCODERS", "encoder_of"]

#: Encoders, by the type of the format of gradients.
ENCODERS = {Fp4Format: Fp4Encoder}


def encoder_of(fmt):
    """Find the class of the encoder of a format.

    Raises
    ------
    InputError
        If its type, and those that it is derived from, have none; or one of another latency.
    """
    for kind in type(fmt).__mro__:
        if kind in ENCODERS:
            found = ENCODERS[kind]
            for name in ("latency", "noise_latency"):
                wanted, is_so = getattr(FloatEncoder, name), getattr(found, name)
                if is_so != wanted:
                    raise InputError(
                        f"{found.__name__}.{name} must be {wanted} cycles, as that of the other "
                        f"encoders, not {is_so}"
                    )
            return found
    raise InputError(f"Format {fmt.name} has no encoder; add that of its type to ENCODERS")
