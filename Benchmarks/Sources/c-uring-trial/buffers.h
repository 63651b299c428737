// The buffers that the kernel receives into, and the pieces of them to send. Included once, because
// it has state, and in a header to save a call for each request.
#ifndef BUFFERS_H
#define BUFFERS_H

#define _GNU_SOURCE
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "options.h"
#include "ring.h"
#include "serving.h"

struct piece {
    unsigned char *bytes;
    size_t length;
    int buffer;
    /// The next piece in a connection's list or in the list of free pieces; -1 at the end.
    int next;
};

struct buffer {
    /// Bytes received into it so far, by several receives only if it is used incrementally.
    size_t used;
    /// The number of its pieces that are not sent yet.
    int pieces;
    /// The kernel will not receive into it any more.
    bool full;
    /// Its position in the ring, from which the following buffer is found.
    unsigned position;
};

static struct options options;
static struct io_uring_buf_ring *buffer_ring;
static unsigned char *memory;
static struct buffer *buffers;
/// Indices of buffers, by position in the ring.
static unsigned *ring_order;
static unsigned ring_tail;
static unsigned free_buffers;
static struct piece *pieces;
static int piece_count, first_free_piece = -1;

static void *zeroed(size_t count, size_t size) {
    void *start = calloc(count, size);
    if (start == NULL) { fail("calloc"); }
    return start;
}

static void give_buffer(unsigned index) {
    unsigned position = ring_tail++ & (options.buffers - 1);
    buffers[index] = (struct buffer){.position = position};
    ring_order[position] = index;
    int mask = io_uring_buf_ring_mask(options.buffers);
    io_uring_buf_ring_add(buffer_ring, memory + index * options.buffer_size,
        (unsigned)options.buffer_size, (unsigned short)index, mask, 0);
    io_uring_buf_ring_advance(buffer_ring, 1);
    free_buffers += 1;
}

static void open_buffers(struct io_uring *ring) {
    memory = pages(options.buffers * options.buffer_size);
    buffers = zeroed(options.buffers, sizeof *buffers);
    ring_order = zeroed(options.buffers, sizeof *ring_order);
    buffer_ring = pages(options.buffers * sizeof(struct io_uring_buf));
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)buffer_ring, .ring_entries = options.buffers,
        // Named `flags` in newer headers.
        .pad = options.incremental ? BUFFERS_INCREMENTAL : 0};
    check(io_uring_register_buf_ring(ring, &registration, 0), "io_uring_register");
    io_uring_buf_ring_init(buffer_ring);
    for (unsigned index = 0; index < options.buffers; index += 1) { give_buffer(index); }
}

static void more_pieces(void) {
    int count = piece_count == 0 ? 4096 : 2 * piece_count;
    pieces = realloc(pieces, (size_t)count * sizeof *pieces);
    if (pieces == NULL) { fail("realloc"); }
    for (int index = count - 1; index >= piece_count; index -= 1) {
        pieces[index].next = first_free_piece;
        first_free_piece = index;
    }
    piece_count = count;
}

/// Returns a piece for the bytes that have just been received into a buffer.
static int take_piece(unsigned index, size_t length, bool full) {
    struct buffer *buffer = &buffers[index];
    if (first_free_piece < 0) { more_pieces(); }
    int piece = first_free_piece;
    first_free_piece = pieces[piece].next;
    pieces[piece] = (struct piece){
        .bytes = memory + index * options.buffer_size + buffer->used, .length = length,
        .buffer = (int)index, .next = -1};
    buffer->used += length;
    buffer->pieces += 1;
    buffer->full = full;
    if (full) { free_buffers -= 1; }
    return piece;
}

/// Frees a piece, and returns the next one in its list.
static int give_piece(int index) {
    struct piece *piece = &pieces[index];
    struct buffer *buffer = &buffers[piece->buffer];
    buffer->pieces -= 1;
    if (buffer->pieces == 0 && buffer->full) { give_buffer((unsigned)piece->buffer); }
    int next = piece->next;
    piece->next = first_free_piece;
    first_free_piece = index;
    return next;
}

/// Returns the buffer that the kernel uses after this one.
static unsigned following(unsigned index) {
    return ring_order[(buffers[index].position + 1) & (options.buffers - 1)];
}

#endif
