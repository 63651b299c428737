// Features of io_uring that the baseline and the library do not use, each as an option. Without
// options it works like c-uring-echo, whose code the choices would make half as long again.
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

#include "buffers.h"
#include "options.h"
#include "serving.h"

enum {
    SUBMISSIONS = 1024,
    COMPLETIONS = 8192,
    MOST_SOCKETS = 19000,
    MOST_IN_A_SEND = 64,
};

/// State of a connection whose sends may have many pieces.
struct bundle {
    /// The message of a send, or the connection's own ring of pieces to send.
    struct msghdr message;
    struct iovec parts[MOST_IN_A_SEND];
    struct io_uring_buf_ring *ring;
    unsigned short group;
};

struct connection {
    /// The descriptor, or a slot in the ring's table.
    int fd;
    bool receiving;
    bool sending;
    bool starved;
    /// The receiving direction is over.
    bool ended;
    /// No more bytes can be sent.
    bool lost;
    /// Pieces that are received and not sent yet, in order; the first may be in flight.
    int first;
    int last;
    int held;
    size_t sent_of_first;
    /// The result of an uncopied send, until the kernel has released the bytes.
    int sent_uncopied;
    struct bundle *bundle;
    struct connection *next_starved;
};

/// The low bits of a completion's tag; the other bits are the connection's address.
enum kind { ACCEPT, END, RECEIVE, SEND, CANCEL, KIND_MASK = 7 };

static struct io_uring ring;
static struct connection *first_starved, **last_starved = &first_starved;

static void open_ring_and_buffers(void) {
    open_ring(&ring, options.setup, SUBMISSIONS, COMPLETIONS);
    if (options.direct) {
        check(io_uring_register_files_sparse(&ring, MOST_SOCKETS), "io_uring_register");
    }
    open_buffers(&ring);
}

static struct io_uring_sqe *submission(struct connection *connection, enum kind kind) {
    struct io_uring_sqe *sqe = free_entry(&ring);
    // The io_uring_prep_ calls that follow clear the entry, except user_data.
    sqe->user_data = (uint64_t)(uintptr_t)connection | kind;
    return sqe;
}

static void accept_from(int listener) {
    struct io_uring_sqe *sqe = submission(NULL, ACCEPT);
    if (options.direct) {
        io_uring_prep_multishot_accept_direct(sqe, listener, NULL, NULL, 0);
    } else {
        io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
    }
}

static unsigned char where(void) { return options.direct ? IOSQE_FIXED_FILE : 0; }

static void receive(struct connection *connection) {
    struct io_uring_sqe *sqe = submission(connection, RECEIVE);
    io_uring_prep_recv_multishot(sqe, connection->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT | where();
    if (options.bundle) { sqe->ioprio |= RECVSEND_BUNDLE; }
    sqe->buf_group = 0;
    connection->receiving = true;
}

static void prepare_message(struct connection *connection, struct io_uring_sqe *sqe) {
    struct bundle *bundle = connection->bundle;
    size_t count = 0, skipped = connection->sent_of_first;
    for (int index = connection->first; index >= 0 && count < MOST_IN_A_SEND;
         index = pieces[index].next) {
        bundle->parts[count++] = (struct iovec){
            pieces[index].bytes + skipped, pieces[index].length - skipped};
        skipped = 0;
    }
    bundle->message = (struct msghdr){.msg_iov = bundle->parts, .msg_iovlen = count};
    io_uring_prep_sendmsg(sqe, connection->fd, &bundle->message, MSG_NOSIGNAL);
}

/// Puts all held pieces into the connection's ring, which one send empties.
static void prepare_bundle(struct connection *connection, struct io_uring_sqe *sqe) {
    struct bundle *bundle = connection->bundle;
    int count = 0, mask = io_uring_buf_ring_mask(MOST_IN_A_SEND);
    for (int index = connection->first; index >= 0 && count < MOST_IN_A_SEND;
         index = pieces[index].next) {
        io_uring_buf_ring_add(bundle->ring, pieces[index].bytes, (unsigned)pieces[index].length,
            (unsigned short)count, mask, count);
        count += 1;
    }
    io_uring_buf_ring_advance(bundle->ring, count);
    io_uring_prep_send(sqe, connection->fd, NULL, 0, MSG_NOSIGNAL | MSG_WAITALL);
    sqe->ioprio |= RECVSEND_BUNDLE;
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = bundle->group;
}

static void send_held(struct connection *connection) {
    struct io_uring_sqe *sqe = submission(connection, SEND);
    unsigned char *bytes = pieces[connection->first].bytes + connection->sent_of_first;
    size_t length = pieces[connection->first].length - connection->sent_of_first;
    if (options.send_bundle) {
        prepare_bundle(connection, sqe);
    } else if (options.bundle && connection->held > 1) {
        prepare_message(connection, sqe);
    } else if (options.zero_copy_from > 0 && length >= options.zero_copy_from) {
        io_uring_prep_send_zc(sqe, connection->fd, bytes, length, MSG_NOSIGNAL, 0);
    } else {
        io_uring_prep_send(sqe, connection->fd, bytes, length, MSG_NOSIGNAL);
    }
    sqe->flags |= where();
    connection->sending = true;
}

static void cancel_receive(struct connection *connection) {
    uint64_t target = (uint64_t)(uintptr_t)connection | RECEIVE;
    io_uring_prep_cancel64(submission(connection, CANCEL), target, 0);
}

static void keep(struct connection *connection, int piece) {
    if (connection->first < 0) {
        connection->first = piece;
    } else {
        pieces[connection->last].next = piece;
    }
    connection->last = piece;
    connection->held += 1;
}

static void give_back_first(struct connection *connection) {
    connection->first = give_piece(connection->first);
    connection->held -= 1;
    connection->sent_of_first = 0;
}

static void lose(struct connection *connection) {
    if (connection->lost) { return; }
    connection->lost = connection->ended = true;
    // Ends the operations in flight; the descriptor is closed when they have completed.
    if (options.direct) {
        struct io_uring_sqe *sqe = submission(connection, CANCEL);
        io_uring_prep_shutdown(sqe, connection->fd, SHUT_RDWR);
        sqe->flags |= where();
    } else {
        shutdown(connection->fd, SHUT_RDWR);
    }
}

static void open_bundle(struct connection *connection) {
    static unsigned short last_group;
    connection->bundle = zeroed(1, sizeof *connection->bundle);
    if (!options.send_bundle) { return; }
    connection->bundle->group = ++last_group;
    connection->bundle->ring = pages(MOST_IN_A_SEND * sizeof(struct io_uring_buf));
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)connection->bundle->ring,
        .ring_entries = MOST_IN_A_SEND, .bgid = last_group};
    check(io_uring_register_buf_ring(&ring, &registration, 0), "io_uring_register");
    io_uring_buf_ring_init(connection->bundle->ring);
}

static void drop(struct connection *connection) {
    if (options.send_bundle) {
        check(io_uring_unregister_buf_ring(&ring, connection->bundle->group), "io_uring_register");
        munmap(connection->bundle->ring, MOST_IN_A_SEND * sizeof(struct io_uring_buf));
    }
    if (options.direct) {
        io_uring_prep_close_direct(submission(NULL, CANCEL), (unsigned)connection->fd);
    } else {
        close(connection->fd);
    }
    free(connection->bundle);
    free(connection);
}

/// Starts all possible operations, after any change. Frees a connection that is over.
static void settle(struct connection *connection) {
    if (connection->lost && !connection->sending) {
        while (connection->first >= 0) { give_back_first(connection); }
    }
    if (!connection->sending && connection->first >= 0) { send_held(connection); }
    if (connection->receiving) {
        if (connection->held >= options.most_held) { cancel_receive(connection); }
    } else if (connection->ended) {
        bool idle = !connection->sending && !connection->starved;
        if (idle && connection->first < 0) { drop(connection); }
    } else if (!connection->starved && connection->held < options.most_held / 2) {
        receive(connection);
    }
}

static void complete_accept(int listener, int result, unsigned flags) {
    if (result >= 0) {
        int on = 1;
        // Sockets in the table inherit the option from the listener.
        if (!options.direct) { setsockopt(result, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); }
        struct connection *connection = zeroed(1, sizeof *connection);
        connection->fd = result;
        connection->first = -1;
        if (options.bundle) { open_bundle(connection); }
        settle(connection);
    } else if (result != -EAGAIN && result != -EINTR && result != -ECONNABORTED) {
        check(result, "accept");
    }
    if ((flags & IORING_CQE_F_MORE) == 0) { accept_from(listener); }
}

/// Keeps the bytes of a receive: one buffer, or in a bundle also as many following ones as needed.
static void take_received(struct connection *connection, unsigned index, int result,
                          unsigned flags) {
    bool full = (flags & BUFFER_MORE) == 0;
    size_t left = result > 0 && !connection->lost ? (size_t)result : 0;
    do {
        unsigned next = following(index);
        size_t length = options.bundle && left > options.buffer_size ? options.buffer_size : left;
        int piece = take_piece(index, length, full);
        if (length > 0) {
            keep(connection, piece);
        } else {
            give_piece(piece);
        }
        left -= length;
        index = next;
    } while (left > 0);
}

static void complete_receive(struct connection *connection, int result, unsigned flags) {
    connection->receiving = (flags & IORING_CQE_F_MORE) != 0;
    if ((flags & IORING_CQE_F_BUFFER) != 0) {
        take_received(connection, flags >> IORING_CQE_BUFFER_SHIFT, result, flags);
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

static void complete_send(struct connection *connection, int result, unsigned flags) {
    if ((flags & IORING_CQE_F_MORE) != 0) {
        // Not copied: the buffer is in use until the IORING_CQE_F_NOTIF completion.
        connection->sent_uncopied = result;
        return;
    }
    if ((flags & IORING_CQE_F_NOTIF) != 0) { result = connection->sent_uncopied; }
    connection->sending = false;
    size_t left = result > 0 ? (size_t)result : 0;
    while (left > 0) {
        size_t rest = pieces[connection->first].length - connection->sent_of_first;
        if (left < rest) {
            connection->sent_of_first += left;
            // The rest in the connection's ring would be sent out of order.
            if (options.send_bundle) { lose(connection); }
            break;
        }
        left -= rest;
        give_back_first(connection);
    }
    if (result < 0 && result != -EINTR && result != -EAGAIN) { lose(connection); }
    settle(connection);
}

/// Submits, and waits for a completion, or with a minimum wait for several until its time is over.
static int enter(void) {
    if (options.minimum_wait_us == 0) { return io_uring_submit_and_wait(&ring, 1); }
    struct io_uring_getevents_arg argument = {
        // Named `min_wait_usec` in newer headers.
        .pad = options.minimum_wait_us};
    ring.sq.sqe_head = ring.sq.sqe_tail;
    io_uring_smp_store_release(ring.sq.ktail, ring.sq.sqe_tail);
    unsigned unsubmitted = ring.sq.sqe_tail - io_uring_smp_load_acquire(ring.sq.khead);
    return io_uring_enter2((unsigned)ring.enter_ring_fd, unsubmitted, options.wait_for,
        IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG | IORING_ENTER_REGISTERED_RING,
        (void *)&argument, sizeof argument);
}

/// Restarts receives that wait for a buffer, oldest first, at most one for each free buffer.
static void feed_starved(void) {
    for (unsigned left = free_buffers; left > 0 && first_starved != NULL; left -= 1) {
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
        int result = enter();
        // ETIME: the minimum wait ended with fewer completions.
        if (result != -EINTR && result != -EBUSY && result != -EAGAIN && result != -ETIME) {
            check(result, "io_uring_enter");
        }
        struct io_uring_cqe *cqe;
        unsigned head, count = 0;
        io_uring_for_each_cqe(&ring, head, cqe) {
            count += 1;
            uint64_t tag = cqe->user_data;
            struct connection *connection = (void *)(uintptr_t)(tag & ~(uint64_t)KIND_MASK);
            switch ((enum kind)(tag & KIND_MASK)) {
            case ACCEPT: complete_accept(listener, cqe->res, cqe->flags); break;
            case RECEIVE: complete_receive(connection, cqe->res, cqe->flags); break;
            case SEND: complete_send(connection, cqe->res, cqe->flags); break;
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
    options = options_from(count, arguments);
    int listener = listener_from(2, (char *[]){arguments[0], arguments[count - 1]});
    if (options.direct) {
        int on = 1;
        setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    raise_descriptor_limit();
    open_ring_and_buffers();
    serve(listener);
    return 0;
}
