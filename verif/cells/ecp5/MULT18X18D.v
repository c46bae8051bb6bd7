// The product of two numbers of 18 bits, signed or not, with registers before and behind it or
// without. The registers in the middle, those of the signs, and accumulation, have no model.
module MULT18X18D (
  input
    A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
  input
    B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
  input
    C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0,
  input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, CLK0, CE0, RST0,
  output
    P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17,
    P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
  /* verilator inline_module */
  parameter REG_INPUTA_CLK = "NONE";
  parameter REG_INPUTA_CE = "CE0";
  parameter REG_INPUTA_RST = "RST0";
  parameter REG_INPUTB_CLK = "NONE";
  parameter REG_INPUTB_CE = "CE0";
  parameter REG_INPUTB_RST = "RST0";
  parameter REG_OUTPUT_CLK = "NONE";
  parameter REG_OUTPUT_CE = "CE0";
  parameter REG_OUTPUT_RST = "RST0";

  wire signed [18:0] a_now = {
    SIGNEDA && A17,
    A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0
  };
  wire signed [18:0] b_now = {
    SIGNEDB && B17,
    B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0
  };
  reg signed [18:0] a_kept = 0;
  reg signed [18:0] b_kept = 0;
  wire signed [18:0] a = REG_INPUTA_CLK == "CLK0" ? a_kept : a_now;
  wire signed [18:0] b = REG_INPUTB_CLK == "CLK0" ? b_kept : b_now;
  wire signed [37:0] product = a * b;
  reg [35:0] kept = 0;
  always @(posedge CLK0)
    if (RST0) begin
      a_kept <= 0;
      b_kept <= 0;
      kept <= 0;
    end else if (CE0) begin
      a_kept <= a_now;
      b_kept <= b_now;
      kept <= product[35:0];
    end
  assign {
    P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17,
    P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
  } = REG_OUTPUT_CLK == "CLK0" ? kept : product[35:0];

  initial if (SOURCEA || SOURCEB) $fatal(1, "MULT18X18D: operands of neighbours have no model");
endmodule
