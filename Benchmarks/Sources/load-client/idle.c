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

static void ask_once(const struct options *options, int fd, unsigned index) {
    enum { MOST = 4096 };
    struct connection connection = {.fd = fd, .index = index};
    connection.to_send = options->size < MOST ? options->size : MOST;
    while (connection.received < connection.to_send) {
        if (!connection_send(&connection)) {
            fail(EXIT_FAILED, "idle connection %u: %s", index, strerror(errno));
        }
        await(options, fd, connection.sent < connection.to_send ? POLLIN | POLLOUT : POLLIN, index);
        ssize_t count = connection_receive(&connection);
        if (count < 0 && (errno == EAGAIN || errno == EINTR)) { continue; }
        if (count <= 0) {
            fail(EXIT_FAILED, "idle connection %u: %s", index,
                 count == 0 ? "closed by the server" : strerror(errno));
        }
    }
}

struct idle idle_open(const struct options *options, struct result *result) {
    struct idle idle = {.count = options->idle, .fds = NULL};
    if (idle.count == 0) { return idle; }
    pid_t server = options->server_pid;
    if (server != 0) { result->resident_bytes_empty = process_resident_bytes(server); }
    idle.fds = allocate(idle.count, sizeof *idle.fds);
    for (unsigned index = 0; index < idle.count; index += 1) {
        // Numbered behind the others, for the pattern and the addresses.
        unsigned number = options->connections + index;
        idle.fds[index] =
            target_connect(&options->target, source_of(options, number), options->timeout);
        if (idle.fds[index] < 0) {
            fail(EXIT_FAILED, "idle connection %u: %s", index, strerror(errno));
        }
        ask_once(options, idle.fds[index], number);
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
