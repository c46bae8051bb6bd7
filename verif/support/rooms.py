"""Where a bench lies: beside the test, in the room of its core."""

from verif.paths import ROOT

__all__ = ["bench_module", "has_bench"]


def has_bench(name):
    """Whether there is a bench of a name."""
    return any(ROOT.glob(f"verif/*/bench_{name}.py"))


def bench_module(name):
    """Name the module of a bench, such as ``verif.cores.bench_quantizer`` of ``quantizer``."""
    (path,) = ROOT.glob(f"verif/*/bench_{name}.py")
    return f"verif.{path.parent.name}.{path.stem}"
