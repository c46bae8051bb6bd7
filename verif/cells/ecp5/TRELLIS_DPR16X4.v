// A memory of sixteen words in tables, read without a clock.
module TRELLIS_DPR16X4 (
  input [3:0] DI, WAD, RAD,
  input WRE, WCK,
  output [3:0] DO
);
  parameter WCKMUX = "WCK";
  parameter WREMUX = "WRE";
  parameter [63:0] INITVAL = 0;

  reg [3:0] words[0:15];
  wire clock = WCK ^ (WCKMUX == "INV");
  wire enable = WREMUX == "WRE" ? WRE : WREMUX == "INV" ? !WRE : WREMUX == "1";

  integer k;
  initial for (k = 0; k < 16; k = k + 1) words[k] = INITVAL[4*k+:4];
  always @(posedge clock) if (enable) words[WAD] <= DI;
  assign DO = words[RAD];
endmodule
