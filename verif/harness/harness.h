/* Runs the Verilated training core: commands, beats and expected results are queued, and one call
 * simulates as many cycles as it takes. Data are copied; nothing here keeps a pointer of the caller. */

#ifndef NIBBLEGRAD_HARNESS_H
#define NIBBLEGRAD_HARNESS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct harness harness;

/* What the harness must know of the core; addresses are byte offsets of registers. */
typedef struct {
    uint32_t commands_done;   /* address of COMMANDS_DONE */
    uint32_t status;          /* address of STATUS */
    uint32_t status_busy;     /* mask of STATUS.busy */
    uint32_t queue_depth;     /* commands that are written ahead of those that ended */
} harness_map;

/* What ends a run. */
typedef enum {
    HARNESS_CYCLES = 0,    /* nothing but the limit of cycles */
    HARNESS_WRITTEN = 1,   /* every queued write has its response */
    HARNESS_RESULT = 2,    /* the strips of a command are there */
    HARNESS_IDLE = 3       /* every queued command has ended */
} harness_goal;

/* What a run returns. */
typedef enum {
    HARNESS_DONE = 0,
    HARNESS_LIMIT = 1,          /* the limit of cycles came first */
    HARNESS_INTERRUPTED = 2,    /* the core raised its interrupt, and did what it had accepted */
    HARNESS_STALLED = 3,        /* nothing moved for as long as the watchdog allows */
    HARNESS_UNEXPECTED = 4,     /* a strip came that no command asked for */
    HARNESS_WRONG_LAST = 5,     /* TLAST was missing from the last strip, or came with another */
    HARNESS_BAD_RESPONSE = 6,   /* AXI4-Lite answered with an error */
    HARNESS_NO_RESULT = 7,      /* the command has no result, or it was taken before */
    HARNESS_BROKEN_PROMISE = 8  /* an assertion of the Verilog failed: see harness_promise */
} harness_status;

/* A core in reset for some cycles, then ready. */
harness *harness_create(const harness_map *map);
void harness_destroy(harness *self);

/* Hardware reset; everything queued is forgotten. */
void harness_reset(harness *self);

/* Bytes of a beat and of a strip, lane 0 first. */
uint32_t harness_beat_bytes(void);
uint32_t harness_strip_bytes(void);

/* Queue a command: `writes` pairs of address and value, the last of which issues it; its beats, with
 * TLAST where `last` is not 0, or with the last beat if `last` is NULL; and the count of strips that
 * it sends. Returns its number: 0, 1, 2, ... since the harness was created. */
uint64_t harness_issue(harness *self, const uint32_t *pairs, uint64_t writes, const uint8_t *beats,
                       const uint8_t *last, uint64_t beat_count, uint64_t strips);

/* Queue one write that is no command, whatever waits in the core. */
void harness_write(harness *self, uint32_t address, uint32_t value);

/* Read a register now, while what is queued goes on. Returns a harness_status. */
int harness_read(harness *self, uint32_t address, uint32_t *value);

/* Simulate until the goal is reached, for at most so many cycles. Returns a harness_status. After an
 * interrupt no more commands are written; what the core had accepted is carried out, the rest is
 * forgotten. Every failure is returned again until harness_forget. */
int harness_run(harness *self, int goal, uint64_t number, uint64_t cycles);

/* Copy the strips of a command, once. */
int harness_take(harness *self, uint64_t number, uint8_t *strips);

/* Cycle in which the last strip of a command came; 0 if there is none, or it was copied. */
uint64_t harness_ended(const harness *self, uint64_t number);

/* Forget the last failure and everything queued, and count what the core has done anew. To be called
 * while the core is idle, also after writes that set COMMANDS_DONE to zero. */
void harness_forget(harness *self);

/* Whether the interrupt stops a run; it does from the start. */
void harness_watch_interrupt(harness *self, int watch);

/* Cycles without progress after which a run gives up. */
void harness_watchdog(harness *self, uint64_t cycles);

/* Chance of a pause, in 1/256, in each cycle and on each channel: beats, strips, AXI4-Lite. */
void harness_stalls(harness *self, uint32_t beats, uint32_t strips, uint32_t registers,
                    uint64_t seed);

uint64_t harness_cycles(const harness *self);
int harness_interrupt(const harness *self);

/* Line of the Verilog with the first assertion that failed; 0 if none has. */
int harness_promise(const harness *self);

/* Beats that were queued and not yet accepted. */
uint64_t harness_beats_left(const harness *self);

#ifdef __cplusplus
}
#endif

#endif
