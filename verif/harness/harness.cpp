// Drives the pins of the Verilated core cycle by cycle; see harness.h.

#include <algorithm>
#include <cstring>
#include <utility>

#include "driver.h"

namespace {

// After an interrupt the core has done what it accepted when, for so long, it says that it is not
// busy and moves nothing.
constexpr uint64_t quiet_cycles = 64;
constexpr uint64_t reset_cycles = 4;
constexpr uint64_t no_command = ~uint64_t{0};

// Line of the last assertion that failed in this thread.
thread_local int failed_line = 0;

}  // namespace

// In place of what ends the process.
void vl_stop(const char *, int line, const char *) VL_MT_UNSAFE { failed_line = line; }

void harness::reset() {
    writing = has_address = has_data = asked = false;
    responses.clear();
    reader = Reader::nobody;
    forget();
    results.clear();
    top.aresetn = 0;
    top.s_axi_awvalid = top.s_axi_wvalid = top.s_axi_bready = 0;
    top.s_axi_arvalid = top.s_axi_rready = 0;
    top.s_axi_awprot = top.s_axi_arprot = 0;
    top.s_axi_wstrb = 0xf;
    top.m_axis_tready = 0;
    for (uint64_t k = 0; k < reset_cycles; ++k) {
        top.aclk = 0;
        top.eval();
        top.aclk = 1;
        top.eval();
    }
    top.aresetn = 1;
}

void harness::forget() {
    stop();
    packets.clear();
    top.s_axis_tvalid = 0;
    accepted = false;
    for (uint64_t number : awaited) results.erase(number);
    awaited.clear();
    ignore_strips = true;
    failure = HARNESS_DONE;
    stopping = false;
    recount = true;
    last_move = cycles;
}

// Drops what has not been written. A write that is at the pins stays there.
void harness::stop() { writes.resize(writing ? 1 : 0); }

uint64_t harness::issue(const uint32_t *pairs, uint64_t count, const uint8_t *beats,
                        const uint8_t *last, uint64_t beat_count, uint64_t strips) {
    const uint64_t number = issued++;
    if (stopping) return number;  // the core would ignore it
    for (uint64_t k = 0; k < count; ++k)
        writes.push_back({pairs[2 * k], pairs[2 * k + 1], k + 1 == count ? number : no_command});
    if (beat_count) {
        Packet packet{number, beat_count, {beats, beats + beat_count * BEAT_BYTES}, {}};
        if (last) packet.last.assign(last, last + beat_count);
        packets.push_back(std::move(packet));
    }
    if (strips) {
        results[number] = {strips, {}};
        awaited.push_back(number);
    }
    ignore_strips = false;
    return number;
}

int harness::run(int goal, uint64_t number, uint64_t limit) {
    if (goal == HARNESS_RESULT && !results.count(number) && !failure) return HARNESS_NO_RESULT;
    last_move = cycles;
    want_idle = goal == HARNESS_IDLE;
    const bool patient = goal == HARNESS_CYCLES;
    int status = HARNESS_LIMIT;
    for (uint64_t k = 0; !promise; ++k) {
        if (reached(goal, number)) {
            status = HARNESS_DONE;
            break;
        }
        if (failure && goal != HARNESS_CYCLES && goal != HARNESS_WRITTEN) break;
        if (k == limit) break;
        if (!patient && cycles - last_move > patience) {
            fail(HARNESS_STALLED);
            stopping = true;
            status = HARNESS_STALLED;
            break;
        }
        cycle();
    }
    want_idle = false;
    if (promise) return HARNESS_BROKEN_PROMISE;
    if (status == HARNESS_LIMIT && goal == HARNESS_CYCLES) status = HARNESS_DONE;
    return status == HARNESS_DONE || !failure ? status : failure;
}

bool harness::reached(int goal, uint64_t number) const {
    if (goal == HARNESS_WRITTEN) return all_written();
    if (goal == HARNESS_IDLE)
        return all_written() && !failure && !stopping && !recount && !outstanding();
    if (goal == HARNESS_RESULT) {
        const auto found = results.find(number);
        return found != results.end() && found->second.received == found->second.expected;
    }
    return false;
}

int harness::read(uint32_t address, uint32_t &value) {
    want_read = true;
    read_address = address;
    last_move = cycles;
    while (want_read) {
        if (cycles - last_move > patience) {
            want_read = false;
            return HARNESS_STALLED;
        }
        cycle();
    }
    if (promise) return HARNESS_BROKEN_PROMISE;
    value = read_value;
    return failure == HARNESS_BAD_RESPONSE ? failure : HARNESS_DONE;
}

uint64_t harness::ended(uint64_t number) const {
    const auto found = results.find(number);
    return found == results.end() ? 0 : found->second.ended;
}

int harness::take(uint64_t number, uint8_t *strips) {
    const auto found = results.find(number);
    if (found == results.end() || found->second.received != found->second.expected)
        return HARNESS_NO_RESULT;
    std::memcpy(strips, found->second.strips.data(), found->second.strips.size());
    results.erase(found);
    return HARNESS_DONE;
}

uint64_t harness::beats_left() const {
    uint64_t left = 0;
    for (const Packet &packet : packets) left += packet.count - packet.sent;
    return left;
}

// Everything the harness drives changes after the rising edge, like the outputs of registers.
void harness::cycle() {
    if (pause_beats | pause_strips | pause_registers) draw();
    drive_write();
    drive_read();
    drive_beat();
    top.m_axis_tready = !paused(pause_strips, 1);
    top.aclk = 0;
    top.eval();
    sample_write();
    sample_read();
    sample_streams();
    const bool interrupt = watching && top.irq;
    failed_line = 0;
    top.aclk = 1;
    top.eval();
    ++cycles;
    if (failed_line && !promise) promise = failed_line;
    if (interrupt && !stopping) {
        stop();
        stopping = true;
        last_busy = last_move = cycles;
    }
    if (stopping && !failure && cycles - std::max(last_busy, last_move) > quiet_cycles) {
        fail(HARNESS_INTERRUPTED);
        packets.clear();
        top.s_axis_tvalid = 0;
        accepted = false;
        for (uint64_t number : awaited) results.erase(number);
        awaited.clear();
    }
}

// Ref: G. Marsaglia, Xorshift RNGs, Journal of Statistical Software 8(14), 2003
void harness::draw() {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
}

void harness::drive_write() {
    if (has_address) top.s_axi_awvalid = 0;
    if (has_data) top.s_axi_wvalid = 0;
    if (!writing && !writes.empty()) {
        const Write &next = writes.front();
        const bool is_command = next.command != no_command;
        if (!is_command || (!recount && outstanding() < map.queue_depth)) {
            writing = true;
            has_address = has_data = false;
            top.s_axi_awaddr = next.address;
            top.s_axi_wdata = next.value;
            begun += is_command;
        }
    }
    // With pauses, address and data come apart; what is offered stays until it is accepted.
    if (writing) {
        if (!has_address && !paused(pause_registers, 2)) top.s_axi_awvalid = 1;
        if (!has_data && !paused(pause_registers, 3)) top.s_axi_wvalid = 1;
    }
    top.s_axi_bready = !paused(pause_registers, 4);
}

void harness::sample_write() {
    if (top.s_axi_bvalid && top.s_axi_bready && !responses.empty()) {
        if (top.s_axi_bresp) fail(HARNESS_BAD_RESPONSE);
        if (responses.front() != no_command) written_before = responses.front() + 1;
        responses.pop_front();
        last_move = cycles;
    }
    if (!writing) return;
    has_address |= top.s_axi_awvalid && top.s_axi_awready;
    has_data |= top.s_axi_wvalid && top.s_axi_wready;
    if (has_address && has_data) {
        responses.push_back(writes.front().command);
        writes.pop_front();
        writing = false;
    }
}

void harness::drive_read() {
    if (asked) top.s_axi_arvalid = 0;
    if (reader == Reader::nobody && !asked) {
        const bool full = !writes.empty() && outstanding() >= map.queue_depth;
        if (want_read)
            reader = Reader::caller;
        else if (stopping && !failure)
            reader = Reader::status;
        else if (recount ? !writes.empty() || want_idle
                         : full || (want_idle && all_written() && outstanding()))
            reader = Reader::commands_done;
        if (reader == Reader::caller) top.s_axi_araddr = read_address;
        if (reader == Reader::status) top.s_axi_araddr = map.status;
        if (reader == Reader::commands_done) top.s_axi_araddr = map.commands_done;
    }
    if (reader != Reader::nobody && !asked && !paused(pause_registers, 5)) top.s_axi_arvalid = 1;
    top.s_axi_rready = !paused(pause_registers, 0);
}

void harness::sample_read() {
    if (top.s_axi_arvalid && top.s_axi_arready) asked = true;
    if (!asked || !top.s_axi_rvalid || !top.s_axi_rready) return;
    if (top.s_axi_rresp) fail(HARNESS_BAD_RESPONSE);
    const uint32_t value = top.s_axi_rdata;
    if (reader == Reader::caller) {
        read_value = value;
        want_read = false;
    } else if (reader == Reader::status) {
        if (value & map.status_busy) last_busy = cycles;
    } else if (reader == Reader::commands_done) {
        if (recount && !responses.size() && !writing) {
            begun = value;
            recount = false;
        }
        if (value != done) last_move = cycles;
        done = value;
    }
    reader = Reader::nobody;
    asked = false;
}

void harness::drive_beat() {
    if (accepted) top.s_axis_tvalid = 0;
    accepted = false;
    if (top.s_axis_tvalid) return;  // it stays until it is accepted
    if (packets.empty() || packets.front().command >= written_before) return;
    if (paused(pause_beats, 0)) return;
    const Packet &packet = packets.front();
    std::memcpy(&top.s_axis_tdata, &packet.beats[packet.sent * BEAT_BYTES], BEAT_BYTES);
    top.s_axis_tlast = packet.last_now();
    top.s_axis_tvalid = 1;
}

void harness::sample_streams() {
    if (top.s_axis_tvalid && top.s_axis_tready) {
        accepted = true;
        last_move = cycles;
        Packet &packet = packets.front();
        if (++packet.sent == packet.count) packets.pop_front();
    }
    if (!top.m_axis_tvalid || !top.m_axis_tready) return;
    last_move = cycles;
    if (awaited.empty()) {
        if (!ignore_strips) fail(HARNESS_UNEXPECTED);
        return;
    }
    Result &result = results[awaited.front()];
    const auto *strip = reinterpret_cast<const uint8_t *>(&top.m_axis_tdata);
    result.strips.insert(result.strips.end(), strip, strip + STRIP_BYTES);
    const bool ends = ++result.received == result.expected;
    if (ends != static_cast<bool>(top.m_axis_tlast)) fail(HARNESS_WRONG_LAST);
    if (ends) {
        result.ended = cycles;
        awaited.pop_front();
    }
}

extern "C" {

harness *harness_create(const harness_map *map) { return new harness(*map); }

void harness_destroy(harness *self) { delete self; }

void harness_reset(harness *self) { self->reset(); }

uint32_t harness_beat_bytes(void) { return BEAT_BYTES; }

uint32_t harness_strip_bytes(void) { return STRIP_BYTES; }

uint64_t harness_issue(harness *self, const uint32_t *pairs, uint64_t writes, const uint8_t *beats,
                       const uint8_t *last, uint64_t beat_count, uint64_t strips) {
    return self->issue(pairs, writes, beats, last, beat_count, strips);
}

void harness_write(harness *self, uint32_t address, uint32_t value) {
    self->writes.push_back({address, value, no_command});
}

int harness_read(harness *self, uint32_t address, uint32_t *value) {
    return self->read(address, *value);
}

int harness_run(harness *self, int goal, uint64_t number, uint64_t cycles) {
    return self->run(goal, number, cycles);
}

int harness_take(harness *self, uint64_t number, uint8_t *strips) {
    return self->take(number, strips);
}

uint64_t harness_ended(const harness *self, uint64_t number) { return self->ended(number); }

void harness_forget(harness *self) { self->forget(); }

void harness_watch_interrupt(harness *self, int watch) { self->watching = watch; }

void harness_watchdog(harness *self, uint64_t cycles) { self->patience = cycles; }

void harness_stalls(harness *self, uint32_t beats, uint32_t strips, uint32_t registers,
                    uint64_t seed) {
    self->pause_beats = beats;
    self->pause_strips = strips;
    self->pause_registers = registers;
    self->random = seed * 2 + 1;  // never 0
}

uint64_t harness_cycles(const harness *self) { return self->cycles; }

int harness_interrupt(const harness *self) { return self->top.irq; }

int harness_promise(const harness *self) { return self->promise; }

uint64_t harness_beats_left(const harness *self) { return self->beats_left(); }

}  // extern "C"
