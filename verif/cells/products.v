// Products, to be synthesised into the multipliers of a family.
module products (
  input clk,
  input [35:0] a, b,
  output [35:0] unsigned18, signed18, mixed18, mixed17,
  output [20:0] unsigned9x12,
  output [23:0] signed11x13,
  output [59:0] unsigned36x24,
  output [63:0] signed32,
  output reg [35:0] registered18
);
  assign unsigned18 = a[17:0] * b[17:0];
  assign signed18 = $signed(a[17:0]) * $signed(b[17:0]);
  assign mixed18 = $signed(a[17:0]) * $signed({1'b0, b[17:0]});
  assign mixed17 = $signed(a[17:0]) * $signed({1'b0, b[16:0]});
  assign unsigned9x12 = a[8:0] * b[11:0];
  assign signed11x13 = $signed(a[10:0]) * $signed(b[12:0]);
  assign unsigned36x24 = a * b[23:0];
  assign signed32 = $signed(a[31:0]) * $signed(b[31:0]);

  reg signed [17:0] a_before, b_before;
  initial {a_before, b_before, registered18} = 0;
  always @(posedge clk) begin
    a_before <= a[17:0];
    b_before <= b[17:0];
    registered18 <= a_before * b_before;
  end
endmodule
