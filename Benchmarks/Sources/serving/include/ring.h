// Code that the io_uring servers share around their rings. It is only a header, so that only the
// servers that include it need liburing.
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
    // Saves a lookup of the descriptor at each io_uring_enter.
    check(io_uring_register_ring_fd(ring), "io_uring_register");
}

/// Returns a free entry; submits the queued ones until there is one.
static inline struct io_uring_sqe *free_entry(struct io_uring *ring) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    while (sqe == NULL) {
        int result = io_uring_submit(ring);
        if (result != -EBUSY && result != -EAGAIN) { check(result, "io_uring_enter"); }
        sqe = io_uring_get_sqe(ring);
    }
    return sqe;
}

/// Submits the queued entries and waits for a completion. There may be none: EINTR (a signal),
/// EBUSY and EAGAIN (a busy kernel) are no failures.
static inline void wait_for_completion(struct io_uring *ring) {
    int result = io_uring_submit_and_wait(ring, 1);
    if (result != -EINTR && result != -EBUSY && result != -EAGAIN) {
        check(result, "io_uring_enter");
    }
}

/// Returns the empty buffer ring of group 0.
static inline struct io_uring_buf_ring *open_buffer_ring(struct io_uring *ring, unsigned buffers) {
    struct io_uring_buf_ring *opened = pages(buffers * sizeof(struct io_uring_buf));
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)opened, .ring_entries = buffers};
    check(io_uring_register_buf_ring(ring, &registration, 0), "io_uring_register");
    io_uring_buf_ring_init(opened);
    return opened;
}

#endif
