/* One layer on the training core, forward and backward. */

#ifndef LAYER_H
#define LAYER_H

#include <stddef.h>
#include <stdint.h>

/* What the board brings. Addresses are byte offsets from the core's base. */
uint32_t board_read(uint32_t address);
/* Returns when the write has its response. */
void board_write(uint32_t address, uint32_t value);
/* Lets DMA send so many beats to s_axis, TLAST with the last one, after what it sends already. */
void board_send(const void *beats, size_t count);
/* Lets DMA receive so many strips from m_axis, after what it receives already. */
void board_receive(void *strips, size_t count);
/* Gives up what DMA has not moved yet. */
void board_abort(void);

/* A layer, for a core whose wide floats have 16 bits and whose FP4 has radix 2. The rows of a
 * matrix that is sent are padded to whole beats: X is x[row * layer_pitch(inputs) + column]. */
struct layer {
    uint16_t batch, inputs, outputs;
    uint16_t activation_base, weight_base, gradient_base, bias_base;
    double activation_step, weight_step;
    const uint16_t *x, *w, *dy;   /* (batch, inputs), (outputs, inputs), (batch, outputs) */
    const int32_t *biases;        /* in units of activation_step * weight_step, little endian */
    int fp4_exponent;             /* the largest magnitude of dy is at most 2^(6 + fp4_exponent) */
    int relu;
    /* Results, without padding, and room for the strips of the largest of them. */
    uint16_t *y, *dx, *dw;        /* (batch, outputs), (batch, inputs), (outputs, inputs) */
    uint16_t *strips;
    /* To be multiplied by 1 / sqrt(count of numbers * greatest code), as in the LSQ paper. */
    double activation_step_gradient, weight_step_gradient;
};

/* Count of numbers from one row of a matrix to the next, and of strips of a result. */
size_t layer_pitch(size_t columns);
size_t layer_strips(size_t rows, size_t columns, int forward);

/* Both return 0, or the code of the error: enum nibblegrad_error_code. */
int layer_forward(struct layer *layer);
int layer_backward(struct layer *layer);

#endif
