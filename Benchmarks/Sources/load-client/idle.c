#define _GNU_SOURCE
#include "idle.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connection.h"
#include "support.h"

static void await(const struct options *options, int fd, short events, unsigned index) {
    struct pollfd wanted = {.fd = fd, .events = events};
    if (poll(&wanted, 1, (int)(options->timeout * 1e3)) == 0) {
        fail(EXIT_FAILED, "idle connection %u: no answer for %g s", index, options->timeout);
    }
}

static void open_one(const struct options *options, struct connection *connection) {
    enum { MOST = 4096 };
    connection->fd = target_connect(&options->target, source_of(options, connection->index),
                                    options->timeout);
    connection->to_send = options->size < MOST ? options->size : MOST;
    if (connection->fd < 0 || !connection_send(connection)) {
        fail(EXIT_FAILED, "idle connection %u: %s", connection->index, strerror(errno));
    }
}

static void await_answer(const struct options *options, struct connection *connection) {
    while (connection->received < connection->to_send) {
        ssize_t count = connection_receive(connection);
        if (count > 0) { continue; }
        if (count == 0 || (errno != EAGAIN && errno != EINTR) || !connection_send(connection)) {
            fail(EXIT_FAILED, "idle connection %u: %s", connection->index,
                 count == 0 ? "closed by the server" : strerror(errno));
        }
        bool all_sent = connection->sent == connection->to_send;
        await(options, connection->fd, all_sent ? POLLIN : POLLIN | POLLOUT, connection->index);
    }
}

struct idle idle_open(const struct options *options, struct result *result) {
    // Opened together, so that client and server on one core need not switch for each connection.
    // Well below a server's backlog.
    enum { BATCH = 128 };
    struct idle idle = {.count = options->idle, .fds = NULL};
    if (idle.count == 0) { return idle; }
    pid_t server = options->server_pid;
    if (server != 0) { result->resident_bytes_empty = process_resident_bytes(server); }
    idle.fds = allocate(idle.count, sizeof *idle.fds);
    struct connection batch[BATCH];
    for (unsigned first = 0; first < idle.count; first += BATCH) {
        unsigned count = idle.count - first < BATCH ? idle.count - first : BATCH;
        for (unsigned index = 0; index < count; index += 1) {
            // Numbered after the others, for the pattern and the addresses.
            unsigned number = options->connections + first + index;
            batch[index] = (struct connection){.index = number};
            open_one(options, &batch[index]);
            idle.fds[first + index] = batch[index].fd;
        }
        for (unsigned index = 0; index < count; index += 1) {
            await_answer(options, &batch[index]);
        }
    }
    if (server != 0) { result->resident_bytes_idle = process_resident_bytes(server); }
    return idle;
}

void idle_check_and_close(struct idle *idle) {
    for (unsigned index = 0; index < idle->count; index += 1) {
        char byte;
        ssize_t count = recv(idle->fds[index], &byte, 1, MSG_DONTWAIT);
        if (count >= 0 || errno != EAGAIN) {
            fail(EXIT_FAILED, "idle connection %u: %s", index,
                 count > 0    ? "a byte that nobody asked for"
                 : count == 0 ? "closed by the server"
                              : strerror(errno));
        }
        close(idle->fds[index]);
    }
}
