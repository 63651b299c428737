// A connection for each request: connect, send the request, read the answer, close.
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "run.h"
#include "support.h"

/// Failures in a row after which the client concludes that nothing listens any more.
enum { MOST_ERRORS = 10000 };

static unsigned errors_in_a_row;
static uint64_t opened;

static void open_nothing(struct run *run, struct connection *connection) {
    (void)run;
    connection->starts = allocate(1, sizeof *connection->starts);
}

static void take_error(struct run *run) {
    errors_in_a_row += 1;
    if (errors_in_a_row == MOST_ERRORS) {
        fail(EXIT_FAILED, "%d connections in a row failed, the last with: %s", MOST_ERRORS,
             errno != 0 ? strerror(errno) : "closed by the server");
    }
    run_take_error(run);
}

static void issue(struct run *run, struct connection *connection, uint64_t now) {
    const struct options *options = run->options;
    uint64_t *start = &connection->starts[0];
    while (connection->fd < 0 && run_starts(run, connection, now, start)) {
        connection->fd = target_begin_connect(&options->target, source_of(options, opened));
        opened += 1;
        if (connection->fd < 0) {
            take_error(run);
            continue;
        }
        connection->sent = connection->received = 0;
        connection->to_send = options->size;
        connection->awaits_output = true;
        run_watch(run, connection, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
    }
}

static void end(struct connection *connection) {
    close(connection->fd);
    connection->fd = -1;
}

/// Returns false if the connection is lost.
static bool flush(struct run *run, struct connection *connection) {
    if (!connection_send(connection)) { return false; }
    bool awaits_output = connection->sent < connection->to_send;
    if (awaits_output != connection->awaits_output) {
        connection->awaits_output = awaits_output;
        run_watch(run, connection, EPOLL_CTL_MOD, EPOLLIN | (awaits_output ? EPOLLOUT : 0u));
    }
    return true;
}

static void handle(struct run *run, struct connection *connection, uint32_t events) {
    errno = 0;
    bool lost = (events & EPOLLOUT) != 0 && !flush(run, connection);
    if (!lost && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        ssize_t count = connection_receive(connection);
        lost = count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR);
    }
    uint64_t now = monotonic_ns();
    if (lost) {
        end(connection);
        take_error(run);
    } else if (connection->received == run->options->size) {
        end(connection);
        errors_in_a_row = 0;
        run_take_answer(run, connection, connection->starts[0], now);
    } else {
        return;
    }
    issue(run, connection, now);
}

const struct exchange churn_exchange = {.open = open_nothing, .issue = issue, .handle = handle};
