#define _GNU_SOURCE
#include "CURing.h"

#include "CLinux.h"

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
// Linux 6.15 and later.
enum { FEATURE_NO_IOWAIT = 1 << 17, ENTER_NO_IOWAIT = 1 << 7 };

_Static_assert(
    sizeof(struct mr_wait_argument) == sizeof(struct io_uring_getevents_arg),
    "the kernel's argument of io_uring_enter");

// In the order of UringFeatures.TaskWork, best first. A kernel that does not know a flag returns
// EINVAL.
static const unsigned ladder[] = {
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN
        | IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN
        | IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_SUBMIT_ALL,
};

static int open_ring(
    struct mr_ring *ring, unsigned rung, unsigned submissions, unsigned completions) {
    int result = -EINVAL;
    for (size_t i = rung; result == -EINVAL && i < sizeof(ladder) / sizeof(*ladder); i++) {
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

int mr_open_datagram_buffers(struct mr_ring *ring) {
    if (ring->datagram_buffers) return 0;
    size_t entries = MR_DATAGRAM_BUFFERS * sizeof(struct io_uring_buf);
    int protection = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
    void *pages = mmap(NULL, entries, protection, flags, -1, 0);
    if (pages == MAP_FAILED) return -ENOMEM;
    size_t size = (size_t)MR_DATAGRAM_BUFFERS * MR_DATAGRAM_SIZE;
    void *memory = mmap(NULL, size, protection, flags, -1, 0);
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)pages, .ring_entries = MR_DATAGRAM_BUFFERS, .bgid = 1};
    int result = memory == MAP_FAILED
        ? -ENOMEM : io_uring_register_buf_ring(&ring->ring, &registration, 0);
    if (result < 0) {
        if (memory != MAP_FAILED) munmap(memory, size);
        munmap(pages, entries);
        return result;
    }
    ring->datagram_buffers = pages;
    ring->datagram_memory = memory;
    ring->datagram_form.msg_namelen = sizeof(struct sockaddr_storage);
    ring->datagram_form.msg_controllen = MR_CONTROL_ROOM;
    io_uring_buf_ring_init(ring->datagram_buffers);
    for (unsigned i = 0; i < MR_DATAGRAM_BUFFERS; i++) mr_give_datagram_buffer(ring, i);
    return 0;
}

void mr_give_datagram_buffer(struct mr_ring *ring, unsigned index) {
    io_uring_buf_ring_add(
        ring->datagram_buffers, ring->datagram_memory + (size_t)index * MR_DATAGRAM_SIZE,
        MR_DATAGRAM_SIZE, (unsigned short)index, MR_DATAGRAM_BUFFERS - 1, 0);
    io_uring_buf_ring_advance(ring->datagram_buffers, 1);
}

void mr_prepare_datagrams(
    struct mr_ring *ring, struct io_uring_sqe *sqe, int descriptor, uint64_t user_data) {
    io_uring_prep_recvmsg_multishot(sqe, descriptor, &ring->datagram_form, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 1;
    sqe->user_data = user_data;
}

bool mr_read_datagram(
    struct mr_ring *ring, unsigned index, int32_t result, struct mr_received *datagram) {
    void *buffer = ring->datagram_memory + (size_t)index * MR_DATAGRAM_SIZE;
    struct io_uring_recvmsg_out *out =
        io_uring_recvmsg_validate(buffer, result, &ring->datagram_form);
    if (!out) return false;
    datagram->bytes = io_uring_recvmsg_payload(out, &ring->datagram_form);
    datagram->length = io_uring_recvmsg_payload_length(out, result, &ring->datagram_form);
    datagram->sender = io_uring_recvmsg_name(out);
    datagram->sender_length = out->namelen;
    datagram->segment_size = 0;
    // Only sockets that request control messages receive any.
    if (out->controllen > 0) {
        char *name = io_uring_recvmsg_name(out);
        uint32_t length = out->namelen;
        datagram->segment_size = mr_read_controls(
            name + ring->datagram_form.msg_namelen, out->controllen, name, &length);
        datagram->sender_length = length;
    }
    datagram->is_truncated = (out->flags & MSG_TRUNC) != 0;
    return true;
}

void mr_prepare_connect(
    struct io_uring_sqe *sqe, int descriptor, const void *address, unsigned length,
    uint64_t user_data) {
    io_uring_prep_connect(sqe, descriptor, address, length);
    sqe->user_data = user_data;
}

static void close_buffers(struct mr_ring *ring) {
    if (ring->datagram_buffers) {
        munmap(ring->datagram_buffers, MR_DATAGRAM_BUFFERS * sizeof(struct io_uring_buf));
        munmap(ring->datagram_memory, (size_t)MR_DATAGRAM_BUFFERS * MR_DATAGRAM_SIZE);
    }
    if (ring->buffers) munmap(ring->buffers, ring->buffer_count * sizeof(struct io_uring_buf));
    if (ring->memory) munmap(ring->memory, (size_t)ring->buffer_count * ring->buffer_size);
    ring->buffers = NULL;
    ring->memory = NULL;
}

// liburing maps and unmaps a ring by plain system calls, which the thread sanitizer does not see.
// The kernel gives the addresses of a closed ring to the next one, perhaps on another thread, and
// the sanitizer would report their accesses as a race. So each open follows each earlier close.
#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define FOLLOWS_CLOSES
#endif
#endif
#ifdef FOLLOWS_CLOSES
void __tsan_acquire(void *address);
void __tsan_release(void *address);
static char closes;
static void follow_closes(void) { __tsan_acquire(&closes); }
static void precede_opens(void) { __tsan_release(&closes); }
#else
static void follow_closes(void) {}
static void precede_opens(void) {}
#endif

int mr_ring_open(
    struct mr_ring *ring, unsigned rung, unsigned submissions, unsigned completions,
    unsigned buffer_count, unsigned buffer_size, const char **call) {
    memset(ring, 0, sizeof(*ring));
    ring->buffer_count = buffer_count;
    ring->buffer_size = buffer_size;
    *call = "io_uring_setup";
    int result = open_ring(ring, rung, submissions, completions);
    if (result < 0) return result;
    follow_closes();
    if (!(ring->ring.features & IORING_FEAT_EXT_ARG)) result = -ENOSYS;
    if (result >= 0) result = open_buffers(ring, call);
    if (result < 0) {
        mr_ring_close(ring);
        return result;
    }
    ring->tells_work = (ring->ring.flags & IORING_SETUP_TASKRUN_FLAG) != 0;
    ring->completions = ring->ring.cq.cqes;
    ring->completion_tail = ring->ring.cq.ktail;
    ring->completion_head = ring->ring.cq.khead;
    ring->completion_mask = *ring->ring.cq.kring_mask;
    ring->head = *ring->ring.cq.khead;
    // Filled once, so that mr_submission only has to move the tail. From liburing 2.6 on, rings
    // have no such array where the kernel allows that (IORING_SETUP_NO_SQARRAY, Linux 6.6).
    unsigned entries = *ring->ring.sq.kring_entries;
    for (unsigned i = 0; ring->ring.sq.array && i < entries; i++) ring->ring.sq.array[i] = i;
    // A registered descriptor saves the kernel a look-up at each entry. If the kernel refuses to
    // register it, the plain descriptor is used.
    ring->enter_descriptor = ring->ring.ring_fd;
    if (io_uring_register_ring_fd(&ring->ring) == 1) {
        ring->enter_descriptor = ring->ring.enter_ring_fd;
        ring->enter_flags = IORING_ENTER_REGISTERED_RING;
    }
    // A loop that waits for events is idle, not blocked on a disk. Without this flag the kernel
    // accounts the time as iowait, which looks like a machine in trouble.
    if (ring->ring.features & FEATURE_NO_IOWAIT) ring->enter_flags |= ENTER_NO_IOWAIT;
    return 0;
}

void mr_ring_close(struct mr_ring *ring) {
    precede_opens();
    io_uring_queue_exit(&ring->ring);
    close_buffers(ring);
}

int mr_ring_missing_operation(struct mr_ring *ring) {
    static const int needed[] = {
        IORING_OP_RECV, IORING_OP_SEND, IORING_OP_ASYNC_CANCEL, IORING_OP_POLL_ADD,
        IORING_OP_CONNECT, IORING_OP_RECVMSG,
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
