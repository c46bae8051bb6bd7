# amaranth: UnusedElaboratable=no
"""Gate level: the benches of the cores on what synthesis makes of them."""

from verif.benches import bench_of


def test_given_netlist_matches_golden(sim, given_netlist):
    """The netlist of ``make test VERILOG=``."""
    bench, params = bench_of(given_netlist.module)
    sim(given_netlist, bench, params | {"core": f"netlist of {given_netlist.name}"})
