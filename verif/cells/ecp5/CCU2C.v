// Two bits of a carry chain. A table makes the half sum, or what is to be propagated; the lower
// quarter of the same table, which sees two of the inputs, what is carried where nothing is.
module CCU2C (
  input CIN, A0, B0, C0, D0, A1, B1, C1, D1,
  output S0, S1, COUT
);
  parameter [15:0] INIT0 = 0;
  parameter [15:0] INIT1 = 0;
  parameter INJECT1_0 = "YES";
  parameter INJECT1_1 = "YES";

  wire propagate0 = INIT0[{D0, C0, B0, A0}];
  wire propagate1 = INIT1[{D1, C1, B1, A1}];
  wire generate0 = INJECT1_0 != "YES" && INIT0[{2'b00, B0, A0}];
  wire generate1 = INJECT1_1 != "YES" && INIT1[{2'b00, B1, A1}];
  wire middle = propagate0 ? CIN : generate0;
  assign S0 = propagate0 ^ (INJECT1_0 != "YES" && CIN);
  assign S1 = propagate1 ^ (INJECT1_1 != "YES" && middle);
  assign COUT = propagate1 ? middle : generate1;
endmodule
