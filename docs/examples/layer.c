/* One layer on the training core, forward and backward; docs/training_core.md says what happens. */

#include "layer.h"

#include <math.h>

#include "training_core_registers.h"

#define REGISTER(name) NIBBLEGRAD_##name##_OFFSET
#define FIELD(name, value) \
    (((uint32_t)(value) << NIBBLEGRAD_##name##_SHIFT) & NIBBLEGRAD_##name##_MASK)
#define GET(name, word) (((word) & NIBBLEGRAD_##name##_MASK) >> NIBBLEGRAD_##name##_SHIFT)
#define OPERATION(name) FIELD(COMMAND_OPERATION, NIBBLEGRAD_OPERATION_##name)
#define TO_STREAM FIELD(COMMAND_DESTINATION, NIBBLEGRAD_DESTINATION_STREAM)
#define AFTER_LOADS NIBBLEGRAD_COMMAND_WAIT_FOR_LOADS_MASK
#define GRADIENT                                                          \
    (TO_STREAM | AFTER_LOADS | NIBBLEGRAD_COMMAND_MASKED_MASK |           \
     NIBBLEGRAD_COMMAND_STEP_GRADIENT_MASK | NIBBLEGRAD_COMMAND_CLEAR_STEP_GRADIENT_MASK)

/* Of the core. A program for one core only has constants here. */
static uint32_t size(void) { return board_read(REGISTER(SIZE)); }
static size_t rows(void) { return (size_t)1 << GET(SIZE_LOG2_ROWS, size()); }
static size_t columns(void) { return (size_t)1 << GET(SIZE_LOG2_COLUMNS, size()); }
static size_t lanes(void) { return (size_t)1 << GET(SIZE_LOG2_LANES, size()); }
static size_t least(size_t a, size_t b) { return a < b ? a : b; }
static size_t load_lanes(void) { return least(least(rows(), columns()), lanes()); }
static size_t strip(void) { return rows() > columns() ? rows() : columns(); }
static size_t ceiling(size_t count, size_t unit) { return (count + unit - 1) / unit; }

size_t layer_pitch(size_t count) { return ceiling(count, load_lanes()) * load_lanes(); }

size_t layer_strips(size_t height, size_t width, int forward) {
    return height * ceiling(width, forward ? columns() : rows());
}

/* A positive number as SCALE holds it: 16 bits, the top one set, times a power of two. */
static uint32_t scale(double value) {
    int power;
    double significand = nearbyint(frexp(value, &power) * 65536.0);
    if (significand == 65536.0) {
        significand = 32768.0;
        power += 1;
    }
    return FIELD(SCALE_SIGNIFICAND, significand) | FIELD(SCALE_EXPONENT, (uint32_t)(power - 16));
}

/* Gives up everything, so that the next layer finds the core idle. Returns why. */
static int give_up(void) {
    const int error = (int)board_read(REGISTER(ERROR));
    board_write(REGISTER(CONTROL), NIBBLEGRAD_CONTROL_SOFT_RESET_MASK);
    board_abort();
    return error;
}

/* Waits for room in the queue and issues a command. Its DMA is on its way already. A refusal shows
 * in STATUS later on, and what comes after it is ignored. */
static void issue(uint32_t command) {
    uint32_t status;
    do
        status = board_read(REGISTER(STATUS));
    while (!GET(STATUS_QUEUE_FREE, status) && !GET(STATUS_ERROR, status));
    board_write(REGISTER(COMMAND), command);
}

/* Waits until everything has ended and left, or there is an error. Where there is something else to
 * do, enable both events in INTERRUPT_ENABLE and sleep in the loop until irq, then write ones to
 * INTERRUPT. To wait for a part only, compare COMMANDS_DONE. */
static int finish(void) {
    uint32_t status;
    /* Writes wait while a command is checked; after this one there is a verdict on the last. */
    board_write(REGISTER(CONTROL), 0);
    do
        status = board_read(REGISTER(STATUS));
    while (GET(STATUS_BUSY, status) && !GET(STATUS_ERROR, status));
    return GET(STATUS_ERROR, status) ? give_up() : 0;
}

/* Puts strips, which come tile by tile, in their places. */
static void unpack(uint16_t *result, const uint16_t *strips, size_t height, size_t width,
                   int forward) {
    const size_t tile_rows = forward ? rows() : columns();
    const size_t tile_columns = forward ? columns() : rows();
    const size_t pitch = strip();
    for (size_t top = 0; top < height; top += tile_rows)
        for (size_t left = 0; left < width; left += tile_columns)
            for (size_t row = top; row < least(top + tile_rows, height); ++row, strips += pitch)
                for (size_t k = 0; k < least(tile_columns, width - left); ++k)
                    result[row * width + left + k] = strips[k];
}

static double step_gradient(uint32_t low, uint32_t high, double unit) {
    const uint64_t word = (uint64_t)board_read(high) << 32 | board_read(low);
    const double value = word >> 63 ? -(double)(~word + 1) : (double)word;
    return ldexp(value * unit, -(int)GET(SIZE_RESIDUAL_BITS, size()));
}

int layer_forward(struct layer *layer) {
    const size_t row_beats = layer_pitch(layer->inputs) / load_lanes();

    board_write(REGISTER(BATCH), layer->batch);
    board_write(REGISTER(INPUTS), layer->inputs);
    board_write(REGISTER(OUTPUTS), layer->outputs);
    board_write(REGISTER(ACTIVATION_BASE), layer->activation_base);
    board_write(REGISTER(WEIGHT_BASE), layer->weight_base);
    board_write(REGISTER(GRADIENT_BASE), layer->gradient_base);
    board_write(REGISTER(BIAS_BASE), layer->bias_base);

    board_send(layer->w, layer->outputs * row_beats);
    board_write(REGISTER(SCALE), scale(1.0 / layer->weight_step));
    issue(OPERATION(LOAD_WEIGHTS));
    board_send(layer->biases, ceiling(layer->outputs, load_lanes() * 16 / 32));
    issue(OPERATION(LOAD_BIASES));
    board_send(layer->x, layer->batch * row_beats);
    board_write(REGISTER(SCALE), scale(1.0 / layer->activation_step));
    issue(OPERATION(LOAD_ACTIVATIONS));
    board_receive(layer->strips, layer_strips(layer->batch, layer->outputs, 1));
    board_write(REGISTER(SCALE), scale(layer->activation_step * layer->weight_step));
    issue(OPERATION(FORWARD) | TO_STREAM | AFTER_LOADS | NIBBLEGRAD_COMMAND_BIAS_MASK |
          FIELD(COMMAND_RELU, layer->relu));
    const int error = finish();
    if (!error) unpack(layer->y, layer->strips, layer->batch, layer->outputs, 1);
    return error;
}

/* Runs one product of the backward pass and fetches its result. */
static int gradient(uint32_t command, double unit, uint16_t *strips, uint16_t *result,
                    size_t height, size_t width) {
    board_receive(strips, layer_strips(height, width, 0));
    board_write(REGISTER(SCALE), scale(unit));
    issue(command | GRADIENT);
    const int error = finish();
    if (!error) unpack(result, strips, height, width, 0);
    return error;
}

/* To be called after layer_forward of the same layer, whose X and W are still in the core. */
int layer_backward(struct layer *layer) {
    const double x_unit = ldexp(layer->weight_step, layer->fp4_exponent);
    const double w_unit = ldexp(layer->activation_step, layer->fp4_exponent);
    int error;

    board_send(layer->dy, layer->batch * layer_pitch(layer->outputs) / load_lanes());
    board_write(REGISTER(FP4_EXPONENT), FIELD(FP4_EXPONENT, (uint32_t)layer->fp4_exponent));
    issue(OPERATION(LOAD_GRADIENTS) | NIBBLEGRAD_COMMAND_STOCHASTIC_MASK);
    error = gradient(OPERATION(INPUT_GRADIENT), x_unit, layer->strips, layer->dx, layer->batch,
                     layer->inputs);
    if (error) return error;
    error = gradient(OPERATION(WEIGHT_GRADIENT), w_unit, layer->strips, layer->dw, layer->outputs,
                     layer->inputs);
    if (error) return error;
    layer->activation_step_gradient = step_gradient(
        REGISTER(ACTIVATION_STEP_GRADIENT_LOW), REGISTER(ACTIVATION_STEP_GRADIENT_HIGH), x_unit);
    layer->weight_step_gradient = step_gradient(
        REGISTER(WEIGHT_STEP_GRADIENT_LOW), REGISTER(WEIGHT_STEP_GRADIENT_HIGH), w_unit);
    return 0;
}
