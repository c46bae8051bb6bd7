// A flip-flop, with clock enable and set or reset. GSR is a net that nothing drives.
module TRELLIS_FF (input CLK, LSR, CE, DI, M, output reg Q);
  parameter GSR = "ENABLED";
  parameter CEMUX = "1";
  parameter CLKMUX = "CLK";
  parameter LSRMUX = "LSR";
  parameter LSRMODE = "LSR";
  parameter SRMODE = "LSR_OVER_CE";
  parameter REGSET = "RESET";

  localparam VALUE = REGSET == "SET";
  wire enable = CEMUX == "CE" ? CE : CEMUX == "INV" ? !CE : CEMUX == "1";
  wire set_or_reset = LSR ^ (LSRMUX == "INV");
  wire clock = CLK ^ (CLKMUX == "INV");

  initial Q = VALUE;
  generate
    if (LSRMODE != "LSR") TRELLIS_FF_has_no_model_of_this_LSRMODE unknown ();
    if (SRMODE == "ASYNC") begin : async
      always @(posedge clock or posedge set_or_reset)
        if (set_or_reset) Q <= VALUE;
        else if (enable) Q <= DI;
    end else begin : sync
      always @(posedge clock)
        if (set_or_reset) Q <= VALUE;
        else if (enable) Q <= DI;
    end
  endgenerate
endmodule
