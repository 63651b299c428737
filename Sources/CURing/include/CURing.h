// The parts of io_uring that Swift needs, over liburing 2.3 or later. CURing.c has the set-up; this
// header has the calls of each turn, inlined. It also declares names that older headers lack or
// spell differently.
//
// <features.h> comes first, because liburing.h defines _GNU_SOURCE by itself. Otherwise, once the C
// library has been included without it, the Glibc module of debug builds disagrees with this
// header.
#ifndef MILLRACE_CURING_H
#define MILLRACE_CURING_H

#include <features.h>
#if !__has_include(<liburing.h>)
#error "liburing.h is missing: install it with  apt-get install liburing-dev"
#endif
#include <liburing.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

// Copies of the constants that Swift reads: it does not import a macro with a cast.
enum {
    MR_CQE_BUFFER = 1 << 0,
    MR_CQE_MORE = 1 << 1,
    MR_CQE_BUFFER_SHIFT = 16,
    MR_POLLIN = POLLIN,
    MR_POLLPRI = POLLPRI,
    MR_POLLERR = POLLERR,
    MR_POLLHUP = POLLHUP,
    // <poll.h> defines POLLRDHUP only with _GNU_SOURCE.
    MR_POLLRDHUP = 0x2000,
};

// The argument of io_uring_enter with IORING_ENTER_EXT_ARG: `struct io_uring_getevents_arg`, whose
// third member is called `pad` before liburing 2.8 and `min_wait_usec` from then on.
struct mr_wait_argument {
    uint64_t signal_mask;
    uint32_t signal_mask_size;
    uint32_t minimum_wait_microseconds;
    uint64_t time;
};

// A ring with its provided buffers, used only by the thread that made it.
struct mr_ring {
    struct io_uring ring;
    struct io_uring_buf_ring *buffers;
    unsigned char *memory;
    unsigned buffer_count;
    unsigned buffer_size;
    // Buffers for datagrams, group 1: allocated on first use.
    struct io_uring_buf_ring *datagram_buffers;
    unsigned char *datagram_memory;
    struct msghdr datagram_form;
    // The completion queue's fields, copied because liburing's are two pointers further away.
    const struct io_uring_cqe *completions;
    const unsigned *completion_tail;
    unsigned *completion_head;
    unsigned completion_mask;
    // The first completion that has not been seen. mr_publish stores it for the kernel.
    unsigned head;
    // Whether the submission queue's flags report work that the kernel has deferred.
    bool tells_work;
    // For io_uring_enter: the ring's descriptor or its registered number, and the flag for the
    // latter.
    int enter_descriptor;
    unsigned enter_flags;
};

// Makes a ring and `buffer_count` (a power of two) provided buffers as group 0. Returns 0, or a
// negative errno with *call set to the call that failed. Tries the task work modes from `rung` on:
// 0 is the best.
int mr_ring_open(
    struct mr_ring *ring, unsigned rung, unsigned submissions, unsigned completions,
    unsigned buffer_count, unsigned buffer_size, const char **call);
// Closes the ring. If nothing was in flight, the kernel no longer uses its memory.
void mr_ring_close(struct mr_ring *ring);
// Returns 0 if the kernel has every operation used here, or else the first opcode that it lacks, or
// a negative errno.
int mr_ring_missing_operation(struct mr_ring *ring);

#define MR_INLINE static inline __attribute__((always_inline))

MR_INLINE bool mr_has_completions(const struct mr_ring *ring) {
    return ring->head != io_uring_smp_load_acquire(ring->completion_tail);
}
// Returns the next completion, valid until mr_seen, or NULL.
MR_INLINE const struct io_uring_cqe *mr_peek(const struct mr_ring *ring) {
    unsigned head = ring->head;
    if (head == io_uring_smp_load_acquire(ring->completion_tail)) return NULL;
    __builtin_assume(ring->completions != NULL);
    return &ring->completions[head & ring->completion_mask];
}
// Marks a completion as seen. The kernel reads that at its next entry. With deferred task work it
// needs the room only then. An older kernel may see less room than there is; completions without
// room wait as an overflow.
MR_INLINE void mr_seen(struct mr_ring *ring) { ++ring->head; }
// Whether the kernel holds completions that found no room in the queue, until the next entry.
MR_INLINE bool mr_has_overflow(const struct mr_ring *ring) {
    return io_uring_cq_has_overflow(&ring->ring);
}

MR_INLINE unsigned mr_unsubmitted(const struct mr_ring *ring) {
    return ring->ring.sq.sqe_tail - io_uring_smp_load_acquire(ring->ring.sq.khead);
}
// Whether an entry without waiting would have work: submissions, work that the kernel has deferred,
// or completions that it holds. True if the ring has no flags that report this.
MR_INLINE bool mr_has_work(const struct mr_ring *ring) {
    if (!ring->tells_work || mr_unsubmitted(ring) > 0) return true;
    unsigned flags = __atomic_load_n(ring->ring.sq.kflags, __ATOMIC_ACQUIRE);
    return (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}
// Whether the kernel has a minimum wait: Linux 6.12 and later.
MR_INLINE bool mr_has_minimum_wait(const struct mr_ring *ring) {
    return (ring->ring.features & (1U << 15)) != 0;
}
// Stores the completion queue's head and the submission queue's tail for the kernel.
MR_INLINE void mr_publish(struct mr_ring *ring) {
    io_uring_smp_store_release(ring->completion_head, ring->head);
    io_uring_smp_store_release(ring->ring.sq.ktail, ring->ring.sq.sqe_tail);
}
// Submits the queue, runs the kernel's deferred work, and waits for `wanted` completions or for
// `nanoseconds` (negative: no limit). If `minimum` is not 0, one completion suffices after that
// many microseconds. Returns the kernel's result or a negative errno.
MR_INLINE int mr_enter(
    struct mr_ring *ring, unsigned wanted, int64_t nanoseconds, unsigned minimum) {
    struct __kernel_timespec time = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    struct mr_wait_argument argument = {
        .minimum_wait_microseconds = minimum,
        .time = nanoseconds < 0 ? 0 : (uint64_t)(uintptr_t)&time};
    mr_publish(ring);
    return io_uring_enter2(
        (unsigned)ring->enter_descriptor, mr_unsubmitted(ring), wanted,
        ring->enter_flags | IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, (void *)&argument,
        sizeof(argument));
}
// Submits only: completions that arrive meanwhile wait in the kernel.
MR_INLINE int mr_submit(struct mr_ring *ring) {
    mr_publish(ring);
    return io_uring_enter2(
        (unsigned)ring->enter_descriptor, mr_unsubmitted(ring), 0, ring->enter_flags, NULL, 0);
}
// Clears the slot's earlier contents. Up to liburing 2.3 each io_uring_prep_ function does that.
// Later versions leave it to io_uring_get_sqe, which is not used here.
MR_INLINE struct io_uring_sqe *mr_cleared(struct io_uring_sqe *sqe) {
#ifdef IO_URING_VERSION_MAJOR
    sqe->flags = 0;
    sqe->ioprio = 0;
    sqe->rw_flags = 0;
    sqe->buf_index = 0;
    sqe->personality = 0;
    sqe->file_index = 0;
    sqe->addr3 = 0;
    sqe->__pad2[0] = 0;
#endif
    return sqe;
}
// Returns the next free submission, or NULL when the queue is full.
MR_INLINE struct io_uring_sqe *mr_submission(struct mr_ring *ring) {
    struct io_uring_sq *sq = &ring->ring.sq;
    unsigned tail = sq->sqe_tail;
    if (tail - io_uring_smp_load_acquire(sq->khead) >= sq->ring_entries) return NULL;
    sq->sqe_tail = tail + 1;
    __builtin_assume(sq->sqes != NULL);
    return mr_cleared(&sq->sqes[tail & sq->ring_mask]);
}

// Prepares a multishot receive. With a limit it ends by itself after that many bytes: Linux 6.17
// and later.
MR_INLINE void mr_prepare_receive(
    struct io_uring_sqe *sqe, int descriptor, uint32_t limit, uint64_t user_data) {
    io_uring_prep_recv_multishot(sqe, descriptor, NULL, 0, 0);
    // Newer headers have `optlen` in the same union.
    sqe->file_index = limit;
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    sqe->user_data = user_data;
}
MR_INLINE void mr_prepare_send(
    struct io_uring_sqe *sqe, int descriptor, const void *bytes, size_t count,
    uint64_t user_data) {
    io_uring_prep_send(sqe, descriptor, bytes, count, MSG_NOSIGNAL);
    sqe->user_data = user_data;
}
// Cancels by user data, never by descriptor: the number may belong to another file by now. Success
// has no completion here: the target's own completion reports it.
MR_INLINE void mr_prepare_cancel(struct io_uring_sqe *sqe, uint64_t target, uint64_t user_data) {
    io_uring_prep_cancel64(sqe, target, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = user_data;
}
// Cancels all operations in flight.
MR_INLINE void mr_prepare_cancel_all(struct io_uring_sqe *sqe, uint64_t user_data) {
    io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
    sqe->user_data = user_data;
}
// Prepares a multishot poll. It completes at once if an event is already there, and then for each
// new event. Errors, hang-ups and the peer's end (POLLERR, POLLHUP, POLLRDHUP) are always included.
MR_INLINE void mr_prepare_poll(
    struct io_uring_sqe *sqe, int descriptor, unsigned events, uint64_t user_data) {
    io_uring_prep_poll_multishot(sqe, descriptor, events);
    sqe->user_data = user_data;
}

__attribute__((returns_nonnull)) MR_INLINE unsigned char *mr_buffer(
    struct mr_ring *ring, unsigned index) {
    return ring->memory + (size_t)index * ring->buffer_size;
}
MR_INLINE void mr_give_buffer(struct mr_ring *ring, unsigned index) {
    io_uring_buf_ring_add(
        ring->buffers, mr_buffer(ring, index), ring->buffer_size, (unsigned short)index,
        (int)ring->buffer_count - 1, 0);
    io_uring_buf_ring_advance(ring->buffers, 1);
}

enum {
    MR_DATAGRAM_BUFFERS = 32,
    // The kernel's header, the sender's name and control messages come before the bytes: 400 bytes
    // together. An IPv6 datagram has at most 65527 bytes.
    MR_DATAGRAM_SIZE = 65536 + 512,
};
// Allocates the datagram buffers, unless they exist. Returns 0 or a negative errno.
int mr_open_datagram_buffers(struct mr_ring *ring);
struct mr_received {
    const void *bytes;
    ptrdiff_t length;
    // The sender's name, and after it the bytes that mr_read_controls appends.
    const void *sender;
    ptrdiff_t sender_length;
    // The size of each of several datagrams, the last perhaps shorter (UDP_GRO); 0 for a single
    // one.
    ptrdiff_t segment_size;
    bool is_truncated;
};
// Reads the datagram that the kernel wrote into a buffer. Returns false if the buffer is malformed.
bool mr_read_datagram(
    struct mr_ring *ring, unsigned index, int32_t result, struct mr_received *datagram);
void mr_give_datagram_buffer(struct mr_ring *ring, unsigned index);
void mr_prepare_datagrams(
    struct mr_ring *ring, struct io_uring_sqe *sqe, int descriptor, uint64_t user_data);
void mr_prepare_connect(
    struct io_uring_sqe *sqe, int descriptor, const void *address, unsigned length,
    uint64_t user_data);

#endif
