"""Raw words of the random generator on standard output, for statistical test programs.

``python -m verif.numbers.random_stream --seed 1 | dieharder -g 200 -d 0``
"""

import argparse
import os
import sys

from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state

CHUNK = 1 << 16  # words


def main(argv: list[str] | None = None) -> int:
    """Write little-endian words until there were enough of them or the reader has gone."""
    parser = argparse.ArgumentParser(
        prog="python -m verif.numbers.random_stream",
        description="Write the raw words of the generator, little-endian, to standard output.",
    )
    parser.add_argument("--seed", type=int, default=1, help="seed (default 1)")
    parser.add_argument("--stream", type=int, default=0, help="stream of the seed (default 0)")
    parser.add_argument("--words", type=int, help="count of words (default: until closed)")
    args = parser.parse_args(argv)
    try:
        source = RandomBits(seed_state(args.seed, args.stream))
    except InputError as error:
        parser.error(str(error))

    written = 0
    try:
        while args.words is None or written < args.words:
            count = CHUNK if args.words is None else min(CHUNK, args.words - written)
            sys.stdout.buffer.write(source.words(count).astype("<u4").tobytes())
            written += count
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # The reader has what it wants. Python must not find the closed pipe again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    print(f"wrote {written} words", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
