// A block memory of 2,048 words of nine bits with two ports, as wide as DATA_WIDTH_A and _B say; ports
// of 1, 2 and 4 bits see eight of the nine. An address counts bits, so that wide ports do not need
// its lowest ones: where 18 or 36 bits are written, these enable the words of nine. If port A has 36
// bits it writes only, port B reads only, and they share the pins for data.
//
// What one port reads in the cycle in which the other one writes it is not defined. The model gives
// the complement of what was stored, so that neither the old word nor the new one can be relied on.
module DP16KD (
  input
    DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4,
    DIA3, DIA2, DIA1, DIA0,
  input
    ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
  input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
  output
    DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4,
    DOA3, DOA2, DOA1, DOA0,
  input
    DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4,
    DIB3, DIB2, DIB1, DIB0,
  input
    ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
  input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
  output
    DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4,
    DOB3, DOB2, DOB1, DOB0
);
  /* verilator inline_module */
  parameter DATA_WIDTH_A = 18;
  parameter DATA_WIDTH_B = 18;
  parameter REGMODE_A = "NOREG";
  parameter REGMODE_B = "NOREG";
  parameter RESETMODE = "SYNC";
  parameter ASYNC_RESET_RELEASE = "SYNC";
  parameter CSDECODE_A = "0b000";
  parameter CSDECODE_B = "0b000";
  parameter WRITEMODE_A = "NORMAL";
  parameter WRITEMODE_B = "NORMAL";
  parameter CLKAMUX = "CLKA";
  parameter CLKBMUX = "CLKB";
  parameter GSR = "ENABLED";
  parameter INIT_DATA = "STATIC";
  parameter WID = 0;
  parameter [319:0]
    INITVAL_00 = 0, INITVAL_01 = 0, INITVAL_02 = 0, INITVAL_03 = 0, INITVAL_04 = 0,
    INITVAL_05 = 0, INITVAL_06 = 0, INITVAL_07 = 0, INITVAL_08 = 0, INITVAL_09 = 0,
    INITVAL_0A = 0, INITVAL_0B = 0, INITVAL_0C = 0, INITVAL_0D = 0, INITVAL_0E = 0,
    INITVAL_0F = 0, INITVAL_10 = 0, INITVAL_11 = 0, INITVAL_12 = 0, INITVAL_13 = 0,
    INITVAL_14 = 0, INITVAL_15 = 0, INITVAL_16 = 0, INITVAL_17 = 0, INITVAL_18 = 0,
    INITVAL_19 = 0, INITVAL_1A = 0, INITVAL_1B = 0, INITVAL_1C = 0, INITVAL_1D = 0,
    INITVAL_1E = 0, INITVAL_1F = 0, INITVAL_20 = 0, INITVAL_21 = 0, INITVAL_22 = 0,
    INITVAL_23 = 0, INITVAL_24 = 0, INITVAL_25 = 0, INITVAL_26 = 0, INITVAL_27 = 0,
    INITVAL_28 = 0, INITVAL_29 = 0, INITVAL_2A = 0, INITVAL_2B = 0, INITVAL_2C = 0,
    INITVAL_2D = 0, INITVAL_2E = 0, INITVAL_2F = 0, INITVAL_30 = 0, INITVAL_31 = 0,
    INITVAL_32 = 0, INITVAL_33 = 0, INITVAL_34 = 0, INITVAL_35 = 0, INITVAL_36 = 0,
    INITVAL_37 = 0, INITVAL_38 = 0, INITVAL_39 = 0, INITVAL_3A = 0, INITVAL_3B = 0,
    INITVAL_3C = 0, INITVAL_3D = 0, INITVAL_3E = 0, INITVAL_3F = 0;
  localparam [64 * 320 - 1:0] CONTENTS = {
    INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39,
    INITVAL_38, INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32,
    INITVAL_31, INITVAL_30, INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B,
    INITVAL_2A, INITVAL_29, INITVAL_28, INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24,
    INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20, INITVAL_1F, INITVAL_1E, INITVAL_1D,
    INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18, INITVAL_17, INITVAL_16,
    INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10, INITVAL_0F,
    INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
    INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01, INITVAL_00
  };

  wire [13:0] address_a = {
    ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0
  };
  wire [17:0] data_a = {
    DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4,
    DIA3, DIA2, DIA1, DIA0
  };

  wire [13:0] address_b = {
    ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0
  };
  wire [17:0] data_b = {
    DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4,
    DIB3, DIB2, DIB1, DIB0
  };

  // One port writes 36 bits, the other reads, and both share the data pins.
  localparam PSEUDO = DATA_WIDTH_A == 36;
  // Addresses are the same if they differ only within a word of the wider port.
  localparam WIDER = DATA_WIDTH_A > DATA_WIDTH_B ? DATA_WIDTH_A : DATA_WIDTH_B;
  localparam SHIFT = WIDER == 36 ? 5 : WIDER == 18 ? 4 : WIDER == 9 ? 3 : WIDER / 2;
  wire same = address_a >> SHIFT == address_b >> SHIFT;

  /* verilator lint_off MULTIDRIVEN */
  reg [8:0] words[0:2047];
  /* verilator lint_on MULTIDRIVEN */
  integer k;
  initial
    for (k = 0; k < 1024; k = k + 1) {words[2*k+1], words[2*k]} = CONTENTS[20*k+:18];

  genvar p, g;
  generate
    for (p = 0; p < 2; p = p + 1) begin : port
      localparam WIDTH = p ? DATA_WIDTH_B : DATA_WIDTH_A;
      localparam MODE = p ? WRITEMODE_B : WRITEMODE_A;
      localparam PARTS = WIDTH < 9 ? 1 : WIDTH / 9;

      wire clock = p ? CLKB ^ (CLKBMUX == "INV") : CLKA ^ (CLKAMUX == "INV");
      wire chosen = p ? CEB && !{CSB2, CSB1, CSB0} : CEA && !{CSA2, CSA1, CSA0};
      wire reset = p ? RSTB : RSTA;
      wire asynchronous = reset && RESETMODE == "ASYNC";
      wire [13:0] address = p ? address_b : address_a;
      wire [10:0] word = address[13:3] & ~(PARTS - 1);
      wire [2:0] offset = address[2:0] & ~(WIDTH - 1);
      wire [3:0] enable = (WIDTH < 18 ? 1 : address[3:0]) & ((1 << PARTS) - 1);
      wire [35:0] data = PSEUDO ? {data_b, data_a} : p ? data_b : data_a;
      // A cycle is for writing even if no word is enabled.
      wire writing = chosen && (p ? WEB && !PSEUDO : WEA) && !(reset && RESETMODE == "SYNC");

      wire [35:0] stored, written;
      for (g = 0; g < 4; g = g + 1) begin : part
        // The word among those of the other port, and whether that one writes it.
        wire [10:0] other = word + g - port[1-p].word;
        wire collision = same && port[1-p].writing && other < 4 && port[1-p].enable[other[1:0]];
        if (WIDTH < 9) begin : narrow
          assign stored[9*g+:9] = g ? 0 : words[word][offset+:WIDTH] ^ {9{collision}};
          always @(posedge clock) if (writing && g == 0) words[word][offset+:WIDTH] <= data;
        end else if (g < PARTS) begin : wide
          assign stored[9*g+:9] = words[word+g] ^ {9{collision}};
          always @(posedge clock) if (writing && enable[g]) words[word+g] <= data[9*g+:9];
        end else begin : absent
          assign stored[9*g+:9] = 0;
        end
        assign written[9*g+:9] = enable[g] ? data[9*g+:9] : stored[9*g+:9];
      end

      reg [35:0] read;
      initial read = 0;
      always @(posedge clock or posedge asynchronous)
        if (asynchronous || reset) read <= 0;
        else if (chosen && !(writing && MODE == "NORMAL"))
          read <= writing && MODE == "WRITETHROUGH" ? written : stored;

      // The register at the output, where it is used.
      localparam REGISTERED = (p ? REGMODE_B : REGMODE_A) == "OUTREG";
      reg [35:0] kept;
      initial kept = 0;
      always @(posedge clock or posedge asynchronous)
        if (asynchronous || reset) kept <= 0;
        else if (p ? OCEB : OCEA) kept <= read;
      wire [35:0] result = REGISTERED ? kept : read;
    end
  endgenerate

  wire [17:0] output_a = PSEUDO ? port[1].result[17:0] : port[0].result[17:0];
  wire [17:0] output_b = DATA_WIDTH_B == 36 ? port[1].result[35:18] : port[1].result[17:0];
  assign {
    DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4,
    DOA3, DOA2, DOA1, DOA0
  } = output_a;
  assign {
    DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4,
    DOB3, DOB2, DOB1, DOB0
  } = output_b;

  // What has no model is an instance of a module that does not exist.
  generate
    if (REGMODE_A != "NOREG" && REGMODE_A != "OUTREG" || REGMODE_B != "NOREG" && REGMODE_B != "OUTREG")
      DP16KD_has_no_model_of_this_REGMODE unknown ();
    if (CSDECODE_A != "0b000" || CSDECODE_B != "0b000")
      DP16KD_has_no_model_of_this_CSDECODE unknown ();
    if (DATA_WIDTH_B == 36 && !PSEUDO)
      DP16KD_has_no_model_of_36_bits_at_port_B_only unknown ();
  endgenerate
endmodule
