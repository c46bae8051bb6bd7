"""Self-checking testbenches in plain Verilog, with vectors of the golden model in them."""

from nibblegrad.gen.core import CoreConfig
from nibblegrad.gen.packaging.interface import CLOCK, RESET, Bus, Interface
from nibblegrad.gen.program import Access, Step
from nibblegrad.gen.stimulus import Beat, Run
from nibblegrad.golden.engine.registers import BY_NAME

__all__ = ["PATIENCE", "to_testbench"]

#: Cycles after which a testbench gives up.
PATIENCE = 50_000

_HEAD = """\
// Self-checking testbench of {name}: {summary}
//
// What goes in and what must come out was computed by the golden model; every bit is compared.
// It prints PASS and ends with status 0, or prints what is wrong and ends with another one. Plain
// Verilog-2005 but for $fatal, which gives the status: Icarus Verilog knows it with -g2009.
module {name}_testbench;
"""

_COMMON = """\

  always #5 aclk = ~aclk;

  // Pauses of the streams.
  reg [15:0] pace = 16'h1D0F;
  always @(posedge aclk) pace <= {pace[14:0], pace[15] ^ pace[13] ^ pace[12] ^ pace[10]};

  integer faults = 0;
  integer cycles = 0;
  always @(posedge aclk) begin
    cycles <= cycles + 1;
    if (cycles == %d) begin
      $display("FAIL: not at the end after %%0d cycles", cycles);
      $fatal(1);
    end
  end

  task restart;
    begin
      aresetn = 1'b0;
      repeat (4) @(negedge aclk);
      aresetn = 1'b1;
      @(negedge aclk);
    end
  endtask

  task check(input [319:0] name, input [63:0] got, input [63:0] expected);
    if (got !== expected) begin
      faults = faults + 1;
      $display("FAIL: %%0s is %%0h, expected %%0h", name, got, expected);
    end
  endtask
"""

_SOURCE = """\

  // Source of {bus}: beats up to {bus}_end.
  integer {bus}_sent = 0, {bus}_end = 0;
  reg [{high}:0] {bus}_beats [0:{last}];
  wire {bus}_idle = {bus}_sent == {bus}_end && !{bus}_tvalid;
  always @(posedge aclk)
    if (!aresetn) {bus}_tvalid <= 1'b0;
    else if (!{bus}_tvalid || {bus}_tready) begin
      {bus}_tvalid <= 1'b0;
      if ({bus}_sent < {bus}_end && (pace[{pace}] || pace[{pace} + 1])) begin
        {{{fields}}} <= {bus}_beats[{bus}_sent];
        {bus}_tvalid <= 1'b1;
        {bus}_sent <= {bus}_sent + 1;
      end
    end
"""

_SINK = """\

  // Sink of {bus}: beats up to {bus}_end are expected.
  integer {bus}_received = 0, {bus}_end = 0;
  reg [{high}:0] {bus}_beats [0:{last}];
  wire [{high}:0] {bus}_beat = {{{fields}}};
  wire {bus}_idle = {bus}_received == {bus}_end;
  always @(posedge aclk) begin
    {bus}_tready <= pace[{pace}] || pace[{pace} + 1];
    if (aresetn && {bus}_tvalid && {bus}_tready) begin
      {bus}_received <= {bus}_received + 1;
      if ({bus}_received >= {bus}_end) begin
        faults = faults + 1;
        $display("FAIL: beat %0d of {bus} was not expected", {bus}_received);
      end else if ({bus}_beat !== {bus}_beats[{bus}_received]) begin
        faults = faults + 1;
        $display("FAIL: beat %0d of {bus} is %0h, expected %0h", {bus}_received,
                 {bus}_beat, {bus}_beats[{bus}_received]);
      end
    end
  end
"""

_REGISTERS = """\

  // AXI4-Lite: ports change at the falling edge, and are looked at before the rising one.
  reg taken_a, taken_b;
  reg [31:0] word;

  task write(input [{address}:0] address, input [31:0] value);
    begin
      s_axi_awaddr = address;
      s_axi_wdata = value;
      s_axi_wstrb = 4'hF;
      {{s_axi_awvalid, s_axi_wvalid, s_axi_bready}} = 3'b111;
      while (s_axi_awvalid || s_axi_wvalid) begin
        #4 taken_a = s_axi_awready;
        taken_b = s_axi_wready;
        @(negedge aclk);
        if (taken_a) s_axi_awvalid = 1'b0;
        if (taken_b) s_axi_wvalid = 1'b0;
      end
      while (!s_axi_bvalid) @(negedge aclk);
      check("BRESP", {{62'd0, s_axi_bresp}}, 64'd0);
      @(negedge aclk);
    end
  endtask

  task read(input [{address}:0] address);
    begin
      s_axi_araddr = address;
      {{s_axi_arvalid, s_axi_rready}} = 2'b11;
      while (s_axi_arvalid) begin
        #4 taken_a = s_axi_arready;
        @(negedge aclk);
        if (taken_a) s_axi_arvalid = 1'b0;
      end
      while (!s_axi_rvalid) @(negedge aclk);
      word = s_axi_rdata;
      check("RRESP", {{62'd0, s_axi_rresp}}, 64'd0);
      @(negedge aclk);
    end
  endtask

  task read_and_check(input [319:0] name, input [{address}:0] address, input [31:0] expected);
    begin
      read(address);
      check(name, {{32'd0, word}}, {{32'd0, expected}});
    end
  endtask

  task wait_until_idle;
    begin
      read({status});
      while (word[0]) read({status});
    end
  endtask
"""

_TAIL = """\
    if (faults != 0) begin
      $display("FAIL: %0d faults");
      $fatal(1);
    end
    $display("PASS: {name}");
    $finish;
  end
endmodule
"""


def to_testbench(interface: Interface, module: CoreConfig, steps: list[Step] | None = None) -> str:
    """Write the testbench of a core.

    Parameters
    ----------
    interface : Interface
        The core.
    module : CoreConfig
        Its parameters.
    steps : list of Step, optional
        For a core with registers: what to do, by default its program.
    """
    streams = [bus for bus in interface.buses if bus.is_stream]
    program = module.registration.program
    lines, beats = (
        _program(interface, steps or program(module))
        if program is not None
        else _runs(interface, module.runs())
    )
    # Inputs that no stream drives.
    driven = {port.name for bus in streams for port in bus.ports.values()}
    lone = {port.name for port in interface.ports} - driven - {CLOCK, RESET}
    text = [_HEAD.format(name=interface.name, summary=interface.summary)]
    for port in interface.ports:
        kind = "reg " if port.direction == "input" else "wire"
        value = "" if port.name in lone or kind == "wire" else f" = {port.width}'d0"
        text.append(f"  {kind} {port.range}{port.name}{value};\n")
    text += [_instance(interface), _COMMON % PATIENCE]
    for place, bus in enumerate(streams):
        payload = bus.payload[::-1]
        text.append(
            (_SOURCE if bus.incoming else _SINK).format(
                bus=bus.name,
                high=sum(port.width for port in payload) - 1,
                last=max(len(beats[bus.name]), 1) - 1,
                fields=", ".join(port.name for port in payload),
                pace=3 * place,
            )
        )
    if interface.has_registers:
        address = next(port for port in interface.ports if port.name == "s_axi_awaddr").width
        status = f"{address}'h{BY_NAME['STATUS'].offset:03X}"
        text.append(_REGISTERS.format(address=address - 1, status=status))
    idle = " && ".join(f"{bus.name}_idle" for bus in streams)
    text.append(
        f"\n  task finish;\n    begin\n      @(negedge {CLOCK});\n"
        f"      while (!({idle})) @(negedge {CLOCK});\n"
        f"      repeat ({interface.latency + 4}) @(negedge {CLOCK});\n    end\n  endtask\n"
    )
    text.append("\n  initial begin\n")
    for bus in streams:
        text += [
            f"    {bus.name}_beats[{n}] = {_beat(bus, beat)};\n"
            for n, beat in enumerate(beats[bus.name])
        ]
    # Not before time 0 is over: what never changes would not be seen by `always @*`.
    text.append(f"    @(negedge {CLOCK});\n")
    text += [
        f"    {port.name} = {port.width}'d0;\n"
        for port in interface.ports
        if port.direction == "input" and port.name in lone
    ]
    text += [f"    {line}\n" for line in lines]
    # Not `format`: the text for $display has braces of its own nowhere, but percent signs.
    text.append(_TAIL.replace("{name}", interface.name).replace('faults")', 'faults", faults)'))
    return "".join(text)


def _instance(interface: Interface) -> str:
    connections = ",\n".join(f"    .{port.name}({port.name})" for port in interface.ports)
    return f"\n  {interface.name} dut (\n{connections}\n  );\n"


def _beat(bus: Bus, beat: Beat) -> str:
    """Write a beat as one number, the first port of the payload lowest."""
    word = width = 0
    for port in bus.payload:
        word |= beat.get(port.name.rpartition("_")[2], 0) << width
        width += port.width
    return f"{width}'h{word:X}"


def _runs(interface: Interface, chosen: list[Run]) -> tuple[list[str], dict[str, list[Beat]]]:
    """Write the runs of a core with streams, and list the beats of all runs by stream."""
    beats: dict[str, list[Beat]] = {bus.name: [] for bus in interface.buses}
    widths = {port.name: port.width for port in interface.settings + interface.results}
    lines = []
    for run in chosen:
        lines += ["", f"// {run.title}", "restart;"]
        for name, value in run.settings.items():
            width = widths[name]
            lines.append(f"{name} = {width}'h{int(value) & ((1 << width) - 1):X};")
        for number, (bus, some) in enumerate(run.beats.items()):
            # What goes in by the side comes first.
            if number and bus == "s_axis":
                lines.append("finish;")
            beats[bus] += some
            lines.append(f"{bus}_end = {len(beats[bus])};")
        lines.append("finish;")
        for name, value in run.results.items():
            lines.append(_check(name, widths[name], value))
    return lines, beats


def _check(name: str, width: int, value: int) -> str:
    got = name if width == 64 else f"{{{64 - width}'d0, {name}}}"
    return f'check("{name}", {got}, 64\'h{int(value) & ((1 << width) - 1):X});'


def _program(interface: Interface, steps: list[Step]) -> tuple[list[str], dict[str, list[Beat]]]:
    """Write the program of a training core, and list its beats by stream."""
    beats: dict[str, list[Beat]] = {bus.name: [] for bus in interface.buses}
    bits = next(port for port in interface.ports if port.name == "s_axi_awaddr").width
    lines = ["", "restart;"]
    for step in steps:
        if isinstance(step, Access):
            address = f"{bits}'h{BY_NAME[step.register].offset:03X}"
            word = f"32'h{step.word:08X}"
            lines.append(
                f"write({address}, {word});  // {step.register}"
                if step.writes
                else f'read_and_check("{step.register}", {address}, {word});'
            )
        elif isinstance(step, str):
            lines += ["", f"// {step}"]
        elif step is None:
            lines += ["wait_until_idle;", "finish;"]
        elif isinstance(step, tuple):
            bus, some = step
            beats[bus] += some
            lines.append(f"{bus}_end = {len(beats[bus])};")
        else:
            lines += [_check(name, 1, value) for name, value in step.items()]
    return lines, beats
