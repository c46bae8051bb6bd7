# amaranth: UnusedElaboratable=no
"""Which bench proves a module of a configuration, and what it must know."""

import dataclasses

from gen import config

__all__ = ["bench_of"]


def bench_of(module):
    """Choose the bench of a module.

    Parameters
    ----------
    module : gen.config.CoreConfig
        Parameters of the module.

    Returns
    -------
    str
        The bench, as the fixture ``sim`` takes it.
    dict
        Its parameters; see :func:`verif.sim.bench_params`.
    """
    values = module.arguments()
    params = dataclasses.asdict(module) | {
        "core": module.core,
        "latency": module.build().latency,
    }
    if "fmt" in params:
        params["log2_radix"] = values["fmt"].log2_radix
    match module:
        case config.QuantizerConfig():
            return module.core, params | {"exhaustive": values["wide_format"].width == 16}
        case config.FloatRounderConfig():
            return "stochastic_rounder", params | {"kind": "float"}
        case config.FixedRounderConfig():
            target = {
                "target_bits": values["target"].bits,
                "target_signed": values["target"].signed,
            }
            return "stochastic_rounder", params | {"kind": "fixed"} | target
        case config.TrainingCoreConfig():
            return module.core, params | {"parameters": dataclasses.asdict(module)}
    return module.core, params
