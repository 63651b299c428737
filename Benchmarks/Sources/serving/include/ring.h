// What the io_uring servers share around their rings. In a header alone, so that only who includes
// it needs liburing.
#ifndef RING_H
#define RING_H

#include <errno.h>
#include <liburing.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include "serving.h"

/// Ends the program with liburing's negative result as errno.
static inline void check(int result, const char *what) {
    if (result >= 0) { return; }
    errno = -result;
    fail(what);
}

static inline void *pages(size_t size) {
    void *start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) { fail("mmap"); }
    return start;
}

static inline void open_ring(struct io_uring *ring, unsigned setup, unsigned submissions,
                             unsigned completions) {
    struct io_uring_params parameters = {
        .flags = setup | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
        .cq_entries = completions,
    };
    check(io_uring_queue_init_params(submissions, ring, &parameters), "io_uring_setup");
    // Saves a look-up of the descriptor at each entry.
    check(io_uring_register_ring_fd(ring), "io_uring_register");
}

/// Hands over what is queued until an entry is free, and gives that.
static inline struct io_uring_sqe *free_entry(struct io_uring *ring) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    while (sqe == NULL) {
        int result = io_uring_submit(ring);
        if (result != -EBUSY && result != -EAGAIN) { check(result, "io_uring_enter"); }
        sqe = io_uring_get_sqe(ring);
    }
    return sqe;
}

/// Hands over what is queued and waits for a completion; perhaps there is none: a signal, or a
/// kernel that is too busy for now, is no failure.
static inline void wait_for_completion(struct io_uring *ring) {
    int result = io_uring_submit_and_wait(ring, 1);
    if (result != -EINTR && result != -EBUSY && result != -EAGAIN) {
        check(result, "io_uring_enter");
    }
}

/// Of buffer group 0, empty.
static inline struct io_uring_buf_ring *open_buffer_ring(struct io_uring *ring, unsigned buffers) {
    struct io_uring_buf_ring *opened = pages(buffers * sizeof(struct io_uring_buf));
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)opened, .ring_entries = buffers};
    check(io_uring_register_buf_ring(ring, &registration, 0), "io_uring_register");
    io_uring_buf_ring_init(opened);
    return opened;
}

#endif
