// Requests on connections that last as long as the run.
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "run.h"
#include "support.h"

static _Noreturn void lost(const struct connection *connection, const char *why) {
    fail(EXIT_FAILED, "connection %u lost after %llu answers: %s", connection->index,
         (unsigned long long)connection->answered, why);
}

static void open_stream(struct run *run, struct connection *connection) {
    const struct options *options = run->options;
    struct source source = source_of(options, connection->index);
    connection->fd = target_connect(&options->target, source, options->timeout);
    if (connection->fd < 0) {
        fail(EXIT_FAILED, "connection %u to the server: %s", connection->index, strerror(errno));
    }
    connection->starts = allocate(options->pipeline, sizeof *connection->starts);
    run_watch(run, connection, EPOLL_CTL_ADD, EPOLLIN);
}

static void flush(struct run *run, struct connection *connection) {
    if (!connection_send(connection)) { lost(connection, strerror(errno)); }
    bool awaits_output = connection->sent < connection->to_send;
    if (awaits_output == connection->awaits_output) { return; }
    connection->awaits_output = awaits_output;
    run_watch(run, connection, EPOLL_CTL_MOD, EPOLLIN | (awaits_output ? EPOLLOUT : 0u));
}

static void issue(struct run *run, struct connection *connection, uint64_t now) {
    unsigned depth = run->options->pipeline;
    while (connection->issued - connection->answered < depth) {
        uint64_t *start = &connection->starts[connection->issued % depth];
        if (!run_starts(run, connection, now, start)) { break; }
        connection->to_send += run->options->size;
    }
    flush(run, connection);
}

static void handle(struct run *run, struct connection *connection, uint32_t events) {
    if ((events & EPOLLOUT) != 0) { flush(run, connection); }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) { return; }
    ssize_t count = connection_receive(connection);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) { return; }
    if (count <= 0) { lost(connection, count == 0 ? "closed by the server" : strerror(errno)); }
    uint64_t now = monotonic_ns();
    // Bytes also reset the timeout: a large message may take long on a slow server.
    run->last_heard_ns = now;
    uint64_t before = connection->answered;
    while (connection->received >= (connection->answered + 1) * run->options->size) {
        uint64_t start = connection->starts[connection->answered % run->options->pipeline];
        run_take_answer(run, connection, start, now);
    }
    if (connection->answered != before) { issue(run, connection, now); }
}

const struct exchange stream_exchange = {.open = open_stream, .issue = issue, .handle = handle};
