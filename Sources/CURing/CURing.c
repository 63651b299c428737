#define _GNU_SOURCE
#include "CURing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif

// From the best down: a kernel that does not know a flag answers EINVAL.
static const unsigned ladder[] = {
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN,
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN,
    IORING_SETUP_SUBMIT_ALL,
};

static int open_ring(struct mr_ring *ring, unsigned submissions, unsigned completions) {
    int result = -EINVAL;
    for (size_t i = 0; result == -EINVAL && i < sizeof(ladder) / sizeof(*ladder); i++) {
        struct io_uring_params params;
        memset(&params, 0, sizeof(params));
        params.flags = ladder[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
        params.cq_entries = completions;
        result = io_uring_queue_init_params(submissions, &ring->ring, &params);
    }
    return result;
}

static int open_buffers(struct mr_ring *ring, const char **call) {
    size_t entries = ring->buffer_count * sizeof(struct io_uring_buf);
    size_t size = (size_t)ring->buffer_count * ring->buffer_size;
    int protection = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
    *call = "mmap";
    void *pages = mmap(NULL, entries, protection, flags, -1, 0);
    if (pages == MAP_FAILED) return -ENOMEM;
    ring->buffers = pages;
    void *memory = mmap(NULL, size, protection, flags, -1, 0);
    if (memory == MAP_FAILED) return -ENOMEM;
    ring->memory = memory;
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)ring->buffers, .ring_entries = ring->buffer_count};
    *call = "io_uring_register";
    int result = io_uring_register_buf_ring(&ring->ring, &registration, 0);
    if (result < 0) return result;
    io_uring_buf_ring_init(ring->buffers);
    for (unsigned i = 0; i < ring->buffer_count; i++) mr_give_buffer(ring, i);
    return 0;
}

static void close_buffers(struct mr_ring *ring) {
    if (ring->buffers) munmap(ring->buffers, ring->buffer_count * sizeof(struct io_uring_buf));
    if (ring->memory) munmap(ring->memory, (size_t)ring->buffer_count * ring->buffer_size);
    ring->buffers = NULL;
    ring->memory = NULL;
}

int mr_ring_open(
    struct mr_ring *ring, unsigned submissions, unsigned completions, unsigned buffer_count,
    unsigned buffer_size, const char **call) {
    memset(ring, 0, sizeof(*ring));
    ring->buffer_count = buffer_count;
    ring->buffer_size = buffer_size;
    *call = "io_uring_setup";
    int result = open_ring(ring, submissions, completions);
    if (result < 0) return result;
    if (!(ring->ring.features & IORING_FEAT_EXT_ARG)) result = -ENOSYS;
    if (result >= 0) result = open_buffers(ring, call);
    if (result < 0) {
        mr_ring_close(ring);
        return result;
    }
    // Filled once: mr_submission then only has to move the tail.
    for (unsigned i = 0; i < *ring->ring.sq.kring_entries; i++) ring->ring.sq.array[i] = i;
    // Saves the kernel a look-up of the descriptor at each entry; where it is refused, the plain
    // descriptor does.
    ring->enter_descriptor = ring->ring.ring_fd;
    if (io_uring_register_ring_fd(&ring->ring) == 1) {
        ring->enter_descriptor = ring->ring.enter_ring_fd;
        ring->enter_flags = IORING_ENTER_REGISTERED_RING;
    }
    return 0;
}

void mr_ring_close(struct mr_ring *ring) {
    io_uring_queue_exit(&ring->ring);
    close_buffers(ring);
}

int mr_ring_missing_operation(struct mr_ring *ring) {
    static const int needed[] = {
        IORING_OP_ACCEPT, IORING_OP_RECV, IORING_OP_SEND, IORING_OP_ASYNC_CANCEL,
        IORING_OP_POLL_ADD,
    };
    enum { OPERATIONS = 256 };
    size_t size = sizeof(struct io_uring_probe) + OPERATIONS * sizeof(struct io_uring_probe_op);
    struct io_uring_probe *probe = calloc(1, size);
    if (!probe) return -ENOMEM;
    int result = io_uring_register_probe(&ring->ring, probe, OPERATIONS);
    for (size_t i = 0; result >= 0 && i < sizeof(needed) / sizeof(*needed); i++) {
        if (!io_uring_opcode_supported(probe, needed[i])) result = needed[i];
    }
    free(probe);
    return result;
}
