// Memories of every kind that a core may have, to be synthesised into the memories of a family. All are driven by the same inputs, and hold zeros at first: only the simulator is told so
// because it takes synthesis minutes to read, and it takes zeros for what is not known.
`ifdef VERILATOR
`define CLEAR(depth) integer k; initial for (k = 0; k < depth; k = k + 1) words[k] = 0;
`else
`define CLEAR(depth)
`endif
module memories (
  input clk, reset, clear, read, write,
  input [3:0] parts,
  input [13:0] first, second,
  input [35:0] data,
  output [35:0] simple36, masked36, narrow36, registered36,
  output [17:0] simple18, masked18, reset18, clear18, dual18_a, dual18_b,
  output [8:0] simple9, same9, old9, new9, transparent9, wide9, contents9,
  output [3:0] simple4, table4,
  output [1:0] simple2,
  output simple1
);
  simple #(.WIDTH(36), .BITS(9)) a (clk, read, write, first, second, data, simple36);
  simple #(.WIDTH(18), .BITS(10)) b (clk, read, write, first, second, data, simple18);
  simple #(.WIDTH(9), .BITS(11)) c (clk, read, write, first, second, data, simple9);
  simple #(.WIDTH(4), .BITS(12)) d (clk, read, write, first, second, data, simple4);
  simple #(.WIDTH(2), .BITS(13)) e (clk, read, write, first, second, data, simple2);
  simple #(.WIDTH(1), .BITS(14)) f (clk, read, write, first, second, data, simple1);
  masked #(.PARTS(4), .BITS(9)) g (clk, read, write, parts, first, second, data, masked36);
  masked #(.PARTS(2), .BITS(10)) h (clk, read, write, parts, first, second, data, masked18);
  single #(.MODE("same")) i (clk, read, write, first, data, same9);
  single #(.MODE("old")) j (clk, read, write, first, data, old9);
  single #(.MODE("new")) k (clk, read, write, first, data, new9);
  resettable #(.ASYNC(0)) l (clk, reset, clear, read, write, first, second, data, reset18);
  resettable #(.ASYNC(1)) m (clk, reset, clear, read, write, first, second, data, clear18);
  dual n (clk, read, write, first, second, data, dual18_a, dual18_b);
  transparent o (clk, read, write, first, second, data, transparent9);
  narrow_write p (clk, read, write, first, second, data, narrow36);
  wide_write q (clk, read, write, first, second, data, wide9);
  contents r (clk, read, first, contents9);
  registered s (clk, read, write, first, second, data, registered36);
  table_memory t (clk, write, first, second, data, table4);
endmodule

// Written at one address, read at another one: what was there before.
module simple #(parameter WIDTH = 1, parameter BITS = 1) (
  input clk, read, write,
  input [BITS-1:0] where, from,
  input [WIDTH-1:0] data,
  output reg [WIDTH-1:0] q
);
  (* ram_style = "block" *) reg [WIDTH-1:0] words[0:(1<<BITS)-1];
  `CLEAR(1 << BITS)
  initial q = 0;
  always @(posedge clk) begin
    if (write) words[where] <= data;
    if (read) q <= words[from];
  end
endmodule

// Words of nine bits that are enabled one by one.
module masked #(parameter PARTS = 1, parameter BITS = 1) (
  input clk, read, write,
  input [PARTS-1:0] parts,
  input [BITS-1:0] where, from,
  input [9*PARTS-1:0] data,
  output reg [9*PARTS-1:0] q
);
  (* ram_style = "block" *) reg [9*PARTS-1:0] words[0:(1<<BITS)-1];
  `CLEAR(1 << BITS)
  integer n;
  initial q = 0;
  always @(posedge clk) begin
    for (n = 0; n < PARTS; n = n + 1) if (write && parts[n]) words[where][9*n+:9] <= data[9*n+:9];
    if (read) q <= words[from];
  end
endmodule

// One address. A cycle that writes leaves the output as it is, or shows the old or the new word.
module single #(parameter MODE = "old") (
  input clk, read, write,
  input [10:0] where,
  input [8:0] data,
  output reg [8:0] q
);
  (* ram_style = "block" *) reg [8:0] words[0:2047];
  `CLEAR(2048)
  initial q = 0;
  always @(posedge clk) if (read) begin
    if (write) words[where] <= data;
    if (!write || MODE != "same") q <= write && MODE == "new" ? data : words[where];
  end
endmodule

// The output has a reset.
module resettable #(parameter ASYNC = 0) (
  input clk, reset, clear, read, write,
  input [9:0] where, from,
  input [17:0] data,
  output reg [17:0] q
);
  (* ram_style = "block" *) reg [17:0] words[0:1023];
  `CLEAR(1024)
  initial q = 0;
  always @(posedge clk) if (write) words[where] <= data;
  generate
    if (ASYNC) begin : async
      always @(posedge clk or posedge clear) if (clear) q <= 0; else if (read) q <= words[from];
    end else begin : sync
      always @(posedge clk) if (reset) q <= 0; else if (read) q <= words[from];
    end
  endgenerate
endmodule

// Two ports that write and read, but never at the same address.
module dual (
  input clk, read, write,
  input [9:0] first, second,
  input [17:0] data,
  output reg [17:0] q_a, q_b
);
  (* ram_style = "block", no_rw_check *) reg [17:0] words[0:1023];
  wire apart = first != second;
  `CLEAR(1024)
  initial {q_a, q_b} = 0;
  always @(posedge clk) if (apart) begin
    if (write) words[first] <= data;
    else q_a <= words[first];
  end
  always @(posedge clk) if (apart) begin
    if (read) words[second] <= ~data;
    else q_b <= words[second];
  end
endmodule

// A word that is written and read at the same time is the new one.
module transparent (
  input clk, read, write,
  input [10:0] where, from,
  input [8:0] data,
  output reg [8:0] q
);
  (* ram_style = "block" *) reg [8:0] words[0:2047];
  `CLEAR(2048)
  initial q = 0;
  always @(posedge clk) begin
    if (write) words[where] <= data;
    if (read) q <= write && where == from ? data : words[from];
  end
endmodule

// Nine bits are written, and 36 read.
module narrow_write (
  input clk, read, write,
  input [10:0] where,
  input [8:0] from,
  input [8:0] data,
  output reg [35:0] q
);
  (* ram_style = "block" *) reg [8:0] words[0:2047];
  `CLEAR(2048)
  initial q = 0;
  always @(posedge clk) begin
    if (write) words[where] <= data;
    if (read) begin
      q[8:0] <= words[{from, 2'd0}];
      q[17:9] <= words[{from, 2'd1}];
      q[26:18] <= words[{from, 2'd2}];
      q[35:27] <= words[{from, 2'd3}];
    end
  end
endmodule

// 36 bits are written, and nine read.
module wide_write (
  input clk, read, write,
  input [8:0] where,
  input [10:0] from,
  input [35:0] data,
  output reg [8:0] q
);
  (* ram_style = "block" *) reg [8:0] words[0:2047];
  `CLEAR(2048)
  initial q = 0;
  always @(posedge clk) begin
    if (write) begin
      words[{where, 2'd0}] <= data[8:0];
      words[{where, 2'd1}] <= data[17:9];
      words[{where, 2'd2}] <= data[26:18];
      words[{where, 2'd3}] <= data[35:27];
    end
    if (read) q <= words[from];
  end
endmodule

// A table.
module contents (
  input clk, read,
  input [10:0] from,
  output reg [8:0] q
);
  (* ram_style = "block" *) reg [8:0] words[0:2047];
  integer k;
  initial for (k = 0; k < 2048; k = k + 1) words[k] = 37 * k + (k >> 5);
  initial q = 0;
  always @(posedge clk) if (read) q <= words[from];
endmodule

// With a second register behind the memory.
module registered (
  input clk, read, write,
  input [8:0] where, from,
  input [35:0] data,
  output reg [35:0] q
);
  wire [35:0] early;
  simple #(.WIDTH(36), .BITS(9)) memory (clk, read, write, where, from, data, early);
  initial q = 0;
  always @(posedge clk) if (read) q <= early;
endmodule

// Read without a clock.
module table_memory (
  input clk, write,
  input [3:0] where, from,
  input [3:0] data,
  output [3:0] q
);
  (* ram_style = "distributed" *) reg [3:0] words[0:15];
  integer k;
  initial for (k = 0; k < 16; k = k + 1) words[k] = 5 * k;
  always @(posedge clk) if (write) words[where] <= data;
  assign q = words[from];
endmodule
