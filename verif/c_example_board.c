/* The board of docs/examples/layer.c: a simulated core. Layers come in on standard input, and what
 * was computed of them leaves on standard output, both as the bytes of arrays. */

#include <stdio.h>
#include <stdlib.h>

#include "harness.h"
#include "layer.h"
#include "training_core_registers.h"

static harness *core;
static const void *beats;  /* armed, until a command is written */
static size_t beat_count;
static void *strips;
static size_t strip_count;
static uint64_t receiving;  /* command whose strips are to come */
static void *destination;   /* and where they go; NULL if there is none */

static void check(int good, const char *what) {
    if (good) return;
    fprintf(stderr, "%s failed in cycle %llu\n", what, (unsigned long long)harness_cycles(core));
    exit(1);
}

uint32_t board_read(uint32_t address) {
    uint32_t value;
    check(harness_read(core, address, &value) == HARNESS_DONE, "reading");
    if (destination && harness_take(core, receiving, destination) == HARNESS_DONE)
        destination = NULL;
    return value;
}

void board_write(uint32_t address, uint32_t value) {
    if (address == NIBBLEGRAD_COMMAND_OFFSET) {
        const uint32_t pair[2] = {address, value};
        const uint64_t number = harness_issue(core, pair, 1, beats, NULL, beat_count, strip_count);
        if (strip_count) {
            receiving = number;
            destination = strips;
        }
        beat_count = strip_count = 0;
    } else {
        harness_write(core, address, value);
    }
    check(harness_run(core, HARNESS_WRITTEN, 0, 1000) == HARNESS_DONE, "writing");
}

void board_send(const void *data, size_t count) {
    check(!beat_count, "sending without a command");
    beats = data;
    beat_count = count;
}

void board_receive(void *data, size_t count) {
    check(!strip_count && !destination, "receiving twice");
    strips = data;
    strip_count = count;
}

void board_abort(void) {
    harness_run(core, HARNESS_CYCLES, 0, 8);
    harness_forget(core);
    destination = NULL;
    beat_count = strip_count = 0;
}

static void get(void *data, size_t bytes) {
    check(fread(data, 1, bytes, stdin) == bytes, "input");
}

static void put(const void *data, size_t bytes) {
    check(fwrite(data, 1, bytes, stdout) == bytes, "output");
}

static void *room(size_t count) {
    void *data = malloc(count * sizeof(uint32_t));
    check(data != NULL, "allocation");
    return data;
}

/* Sizes and bases, numbers, arrays. */
static void run_layer(const int32_t *head) {
    struct layer layer = {0};
    double steps[2];
    int32_t errors[2] = {0, 0};
    layer.batch = (uint16_t)head[0];
    layer.inputs = (uint16_t)head[1];
    layer.outputs = (uint16_t)head[2];
    layer.activation_base = (uint16_t)head[3];
    layer.weight_base = (uint16_t)head[4];
    layer.gradient_base = (uint16_t)head[5];
    layer.bias_base = (uint16_t)head[6];
    layer.fp4_exponent = head[7];
    layer.relu = head[8];
    get(steps, sizeof steps);
    layer.activation_step = steps[0];
    layer.weight_step = steps[1];
    const size_t x = layer.batch * layer_pitch(layer.inputs);
    const size_t w = layer.outputs * layer_pitch(layer.inputs);
    const size_t dy = layer.batch * layer_pitch(layer.outputs);
    const size_t biases = layer_pitch(layer.outputs);
    uint16_t *in[3] = {room(x), room(w), room(dy)};
    int32_t *bias = room(biases);
    get(in[0], x * sizeof **in);
    get(in[1], w * sizeof **in);
    get(in[2], dy * sizeof **in);
    get(bias, biases * sizeof *bias);
    layer.x = in[0];
    layer.w = in[1];
    layer.dy = in[2];
    layer.biases = bias;
    const size_t counts[3] = {(size_t)layer.batch * layer.outputs,
                              (size_t)layer.batch * layer.inputs,
                              (size_t)layer.outputs * layer.inputs};
    uint16_t *out[3] = {room(counts[0]), room(counts[1]), room(counts[2])};
    layer.y = out[0];
    layer.dx = out[1];
    layer.dw = out[2];
    /* A strip for each number is more than enough. */
    layer.strips = room((counts[0] + counts[1] + counts[2]) * harness_strip_bytes());

    errors[0] = layer_forward(&layer);
    if (!errors[0]) errors[1] = layer_backward(&layer);
    put(errors, sizeof errors);
    if (!errors[0] && !errors[1]) {
        for (int k = 0; k < 3; ++k) put(out[k], counts[k] * sizeof *out[k]);
        put(&layer.activation_step_gradient, sizeof(double));
        put(&layer.weight_step_gradient, sizeof(double));
    }
    for (int k = 0; k < 3; ++k) {
        free(in[k]);
        free(out[k]);
    }
    free(bias);
    free(layer.strips);
}

int main(void) {
    /* The example looks after the queue itself. */
    const harness_map map = {NIBBLEGRAD_COMMANDS_DONE_OFFSET, NIBBLEGRAD_STATUS_OFFSET,
                             NIBBLEGRAD_STATUS_BUSY_MASK, 1000};
    int32_t head[9];
    core = harness_create(&map);
    while (fread(head, sizeof head, 1, stdin) == 1) run_layer(head);
    harness_destroy(core);
    return 0;
}
