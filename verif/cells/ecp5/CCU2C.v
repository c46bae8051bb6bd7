// Two bits of a carry chain. A table makes the half sum, or what is to be propagated; the lower
// quarter of the same table, which sees two of the inputs, what is carried where nothing is. Tables
// are chosen from input by input, so that an unknown input on which nothing depends changes nothing.
module CCU2C (
  input CIN, A0, B0, C0, D0, A1, B1, C1, D1,
  output S0, S1, COUT
);
  parameter [15:0] INIT0 = 0;
  parameter [15:0] INIT1 = 0;
  parameter INJECT1_0 = "YES";
  parameter INJECT1_1 = "YES";

  wire [7:0] by_d0 = D0 ? INIT0[15:8] : INIT0[7:0];
  wire [7:0] by_d1 = D1 ? INIT1[15:8] : INIT1[7:0];
  wire [3:0] by_c0 = C0 ? by_d0[7:4] : by_d0[3:0];
  wire [3:0] by_c1 = C1 ? by_d1[7:4] : by_d1[3:0];
  wire [1:0] by_b0 = B0 ? by_c0[3:2] : by_c0[1:0];
  wire [1:0] by_b1 = B1 ? by_c1[3:2] : by_c1[1:0];
  wire [1:0] quarter0 = B0 ? INIT0[3:2] : INIT0[1:0];
  wire [1:0] quarter1 = B1 ? INIT1[3:2] : INIT1[1:0];
  wire propagate0 = A0 ? by_b0[1] : by_b0[0];
  wire propagate1 = A1 ? by_b1[1] : by_b1[0];
  wire generate0 = INJECT1_0 != "YES" && (A0 ? quarter0[1] : quarter0[0]);
  wire generate1 = INJECT1_1 != "YES" && (A1 ? quarter1[1] : quarter1[0]);
  wire middle = propagate0 ? CIN : generate0;
  assign S0 = propagate0 ^ (INJECT1_0 != "YES" && CIN);
  assign S1 = propagate1 ^ (INJECT1_1 != "YES" && middle);
  assign COUT = propagate1 ? middle : generate1;
endmodule
