// The io_uring baseline: an echo server like c-epoll-echo that uses the best features of the ring,
// and is complete enough to be a correct server.
#define _GNU_SOURCE
#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ring.h"
#include "serving.h"

enum {
    SUBMISSIONS = 1024,
    COMPLETIONS = 8192,
    /// Few and large: a receive then empties the socket, and 4 MiB serve any number of clients.
    BUFFERS = 64,
    BUFFER = 64 * 1024,
    /// The buffers that one connection may hold before it is read no more. A client that does not
    /// read its answers must not starve the others.
    MOST_HELD = 8,
};

struct connection {
    int fd;
    bool receiving;
    bool sending;
    bool starved;
    /// The receiving direction is over.
    bool ended;
    /// No more bytes can be sent.
    bool lost;
    /// Buffers that are received and not sent yet, in order; the first may be in flight.
    int first;
    int last;
    int held;
    size_t sent_of_first;
    struct connection *next_starved;
};

/// The low bits of a completion's tag; the other bits are the connection's address.
enum kind { ACCEPT, END, RECEIVE, SEND, CANCEL, KIND_MASK = 7 };

static struct io_uring ring;
static struct io_uring_buf_ring *buffer_ring;
static unsigned char *memory;
static struct {
    size_t length;
    int next;
} buffers[BUFFERS];
static int free_buffers;
static struct connection *first_starved, **last_starved = &first_starved;

static unsigned char *bytes_of(int index) { return memory + (size_t)index * BUFFER; }

static void give_back(int index) {
    int mask = io_uring_buf_ring_mask(BUFFERS);
    io_uring_buf_ring_add(buffer_ring, bytes_of(index), BUFFER, (unsigned short)index, mask, 0);
    io_uring_buf_ring_advance(buffer_ring, 1);
    free_buffers += 1;
}

static void open_buffers(void) {
    memory = pages((size_t)BUFFERS * BUFFER);
    buffer_ring = open_buffer_ring(&ring, BUFFERS);
    for (int index = 0; index < BUFFERS; index += 1) { give_back(index); }
}

static struct io_uring_sqe *submission(struct connection *connection, enum kind kind) {
    struct io_uring_sqe *sqe = free_entry(&ring);
    // The io_uring_prep_ calls that follow clear the entry, except user_data.
    sqe->user_data = (uint64_t)(uintptr_t)connection | kind;
    return sqe;
}

static void accept_from(int listener) {
    io_uring_prep_multishot_accept(submission(NULL, ACCEPT), listener, NULL, NULL, SOCK_CLOEXEC);
}

static void receive(struct connection *connection) {
    struct io_uring_sqe *sqe = submission(connection, RECEIVE);
    io_uring_prep_recv_multishot(sqe, connection->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    connection->receiving = true;
}

static void send_first(struct connection *connection) {
    int index = connection->first;
    io_uring_prep_send(submission(connection, SEND), connection->fd,
        bytes_of(index) + connection->sent_of_first,
        buffers[index].length - connection->sent_of_first, MSG_NOSIGNAL);
    connection->sending = true;
}

static void cancel_receive(struct connection *connection) {
    uint64_t target = (uint64_t)(uintptr_t)connection | RECEIVE;
    io_uring_prep_cancel64(submission(connection, CANCEL), target, 0);
}

static void keep(struct connection *connection, int index, size_t length) {
    buffers[index].length = length;
    buffers[index].next = -1;
    if (connection->first < 0) {
        connection->first = index;
    } else {
        buffers[connection->last].next = index;
    }
    connection->last = index;
    connection->held += 1;
}

static void give_back_first(struct connection *connection) {
    int index = connection->first;
    connection->first = buffers[index].next;
    connection->held -= 1;
    connection->sent_of_first = 0;
    give_back(index);
}

static void lose(struct connection *connection) {
    if (connection->lost) { return; }
    connection->lost = connection->ended = true;
    // Ends the operations in flight; the descriptor is closed when they have completed.
    shutdown(connection->fd, SHUT_RDWR);
}

/// Starts all possible operations, after any change. Frees a connection that is over.
static void settle(struct connection *connection) {
    if (connection->lost && !connection->sending) {
        while (connection->first >= 0) { give_back_first(connection); }
    }
    if (!connection->sending && connection->first >= 0) { send_first(connection); }
    if (connection->receiving) {
        if (connection->held >= MOST_HELD) { cancel_receive(connection); }
    } else if (connection->ended) {
        bool idle = !connection->sending && !connection->starved;
        if (idle && connection->first < 0) {
            close(connection->fd);
            free(connection);
        }
    } else if (!connection->starved && connection->held < MOST_HELD / 2) {
        receive(connection);
    }
}

static void complete_accept(int listener, int result, unsigned flags) {
    if (result >= 0) {
        int on = 1;
        setsockopt(result, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *connection = calloc(1, sizeof *connection);
        if (connection == NULL) { fail("calloc"); }
        connection->fd = result;
        connection->first = -1;
        settle(connection);
    } else if (result != -EAGAIN && result != -EINTR && result != -ECONNABORTED) {
        check(result, "accept");
    }
    if ((flags & IORING_CQE_F_MORE) == 0) { accept_from(listener); }
}

static void complete_receive(struct connection *connection, int result, unsigned flags) {
    connection->receiving = (flags & IORING_CQE_F_MORE) != 0;
    if ((flags & IORING_CQE_F_BUFFER) != 0) {
        int index = (int)(flags >> IORING_CQE_BUFFER_SHIFT);
        free_buffers -= 1;
        if (result > 0 && !connection->lost) {
            keep(connection, index, (size_t)result);
        } else {
            give_back(index);
        }
    }
    if (result == -ENOBUFS && !connection->ended) {
        // An immediate retry would spin: without a free buffer a receive fails even when there is
        // nothing to receive.
        connection->starved = true;
        connection->next_starved = NULL;
        *last_starved = connection;
        last_starved = &connection->next_starved;
    } else if (result == 0) {
        connection->ended = true;
    } else if (result < 0 && result != -ENOBUFS && result != -ECANCELED && result != -EINTR
        && result != -EAGAIN) {
        lose(connection);
    }
    settle(connection);
}

static void complete_send(struct connection *connection, int result) {
    connection->sending = false;
    if (result >= 0) {
        connection->sent_of_first += (size_t)result;
        if (connection->sent_of_first == buffers[connection->first].length) {
            give_back_first(connection);
        }
    } else if (result != -EINTR && result != -EAGAIN) {
        lose(connection);
    }
    settle(connection);
}

/// Restarts receives that wait for a buffer, oldest first, at most one for each free buffer.
static void feed_starved(void) {
    for (int left = free_buffers; left > 0 && first_starved != NULL; left -= 1) {
        struct connection *connection = first_starved;
        first_starved = connection->next_starved;
        if (first_starved == NULL) { last_starved = &first_starved; }
        connection->starved = false;
        settle(connection);
    }
}

static void serve(int listener) {
    accept_from(listener);
    io_uring_prep_poll_add(submission(NULL, END), termination(), POLLIN);
    announce(listener);
    for (;;) {
        wait_for_completion(&ring);
        struct io_uring_cqe *cqe;
        unsigned head, count = 0;
        io_uring_for_each_cqe(&ring, head, cqe) {
            count += 1;
            uint64_t tag = cqe->user_data;
            struct connection *connection = (void *)(uintptr_t)(tag & ~(uint64_t)KIND_MASK);
            switch ((enum kind)(tag & KIND_MASK)) {
            case ACCEPT: complete_accept(listener, cqe->res, cqe->flags); break;
            case RECEIVE: complete_receive(connection, cqe->res, cqe->flags); break;
            case SEND: complete_send(connection, cqe->res); break;
            case END: return;
            // The target's own completion reports the result.
            case CANCEL:
            case KIND_MASK: break;
            }
        }
        io_uring_cq_advance(&ring, count);
        feed_starved();
    }
}

int main(int count, char **arguments) {
    int listener = listener_from(count, arguments);
    raise_descriptor_limit();
    open_ring(&ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, SUBMISSIONS,
        COMPLETIONS);
    open_buffers();
    serve(listener);
    return 0;
}
