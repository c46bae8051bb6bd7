// What a harness holds: what is queued, what is under way, and the model.

#ifndef NIBBLEGRAD_DRIVER_H
#define NIBBLEGRAD_DRIVER_H

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <vector>

#include "Vdut.h"
#include "harness.h"
#include "verilated.h"

struct Write {
    uint32_t address;
    uint32_t value;
    uint64_t command;  // its number, in the write that issues it
};

struct Packet {
    uint64_t command;  // it is offered when this has been written
    uint64_t count;
    std::vector<uint8_t> beats;
    std::vector<uint8_t> last;  // empty: with the last beat
    uint64_t sent = 0;

    bool last_now() const { return last.empty() ? sent + 1 == count : last[sent]; }
};

struct Result {
    uint64_t expected;
    std::vector<uint8_t> strips;
    uint64_t received = 0;
    uint64_t ended = 0;  // cycle of the last strip
};

struct harness {
    explicit harness(const harness_map &map) : map(map), top(&context) { reset(); }
    ~harness() {
        // The model is taken down in the context of the thread, which is that of the newest model.
        Verilated::threadContextp(&context);
        top.final();
    }

    void reset();
    void forget();
    uint64_t issue(const uint32_t *pairs, uint64_t count, const uint8_t *beats,
                   const uint8_t *last, uint64_t beat_count, uint64_t strips);
    int run(int goal, uint64_t number, uint64_t limit);
    int read(uint32_t address, uint32_t &value);
    int take(uint64_t number, uint8_t *strips);
    uint64_t ended(uint64_t number) const;
    uint64_t beats_left() const;

    const harness_map map;
    VerilatedContext context;
    Vdut top;
    std::deque<Write> writes;
    uint64_t cycles = 0;
    uint64_t patience = uint64_t{1} << 20;
    bool watching = true;
    uint32_t pause_beats = 0, pause_strips = 0, pause_registers = 0;
    uint64_t random = 1;
    int promise = 0;  // line of the first assertion that failed

private:
    enum class Reader { nobody, caller, commands_done, status };

    void cycle();
    void draw();
    void drive_write();
    void drive_read();
    void drive_beat();
    void sample_write();
    void sample_read();
    void sample_streams();
    void stop();
    void fail(int status) {
        if (!failure) failure = status;
    }
    bool reached(int goal, uint64_t number) const;
    bool all_written() const { return writes.empty() && responses.empty(); }
    uint32_t outstanding() const { return begun - done; }
    bool paused(uint32_t chance, int channel) const {
        return ((random >> (16 + 8 * channel)) & 0xff) < chance;
    }

    // The write at the pins is the first of `writes`; those accepted wait for their responses.
    bool writing = false, has_address = false, has_data = false;
    std::deque<uint64_t> responses;
    // Commands written since both sides agreed, and those ended as the core said last.
    uint32_t begun = 0, done = 0;
    bool recount = false;
    uint64_t written_before = 0;  // commands below this number have been written
    uint64_t issued = 0;

    Reader reader = Reader::nobody;
    bool asked = false, want_read = false, want_idle = false;
    uint32_t read_address = 0, read_value = 0;

    std::deque<Packet> packets;
    std::deque<uint64_t> awaited;  // commands whose strips are still to come, in order
    std::unordered_map<uint64_t, Result> results;
    bool accepted = false;  // the beat at the pins was
    bool ignore_strips = false;

    int failure = HARNESS_DONE;
    bool stopping = false;
    uint64_t last_move = 0, last_busy = 0;
};

#endif
