// Requests that may get lost. Each datagram begins with its number; the rest is the pattern from a
// position that depends on the number.
#define _GNU_SOURCE
#include "datagram.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "pattern.h"
#include "run.h"
#include "support.h"

/// A place in the pipeline. Its datagrams are numbered place, place + depth, place + 2 * depth, ...
struct slot {
    uint64_t number;
    /// The time from which the latency counts, and the time of sending, from which it expires.
    uint64_t start_ns;
    uint64_t sent_ns;
    bool in_flight;
};

struct datagrams {
    struct slot *slots;
    unsigned *unused;
    unsigned unused_count;
};

static unsigned char scratch[DATAGRAM_MOST + 1];

static void open_datagrams(struct run *run, struct connection *connection) {
    const struct options *options = run->options;
    connection->fd =
        target_connect(&options->target, source_of(options, connection->index), options->timeout);
    if (connection->fd < 0) {
        fail(EXIT_FAILED, "socket %u: %s", connection->index, strerror(errno));
    }
    struct datagrams *datagrams = allocate(1, sizeof *datagrams);
    datagrams->slots = allocate(options->pipeline, sizeof *datagrams->slots);
    datagrams->unused = allocate(options->pipeline, sizeof *datagrams->unused);
    for (unsigned place = 0; place < options->pipeline; place += 1) {
        datagrams->slots[place].number = place;
        datagrams->unused[place] = place;
    }
    datagrams->unused_count = options->pipeline;
    connection->datagrams = datagrams;
    run_watch(run, connection, EPOLL_CTL_ADD, EPOLLIN);
}

static uint64_t position(const struct options *options, uint64_t number) {
    return number * options->size;
}

/// Returns false if the socket accepts no datagram now.
static bool send_one(const struct options *options, struct connection *connection,
                     uint64_t number) {
    size_t rest = (size_t)options->size - sizeof number;
    memcpy(scratch, &number, sizeof number);
    memcpy(scratch + sizeof number, pattern_at(connection->index, position(options, number)), rest);
    for (;;) {
        ssize_t count = send(connection->fd, scratch, (size_t)options->size, MSG_NOSIGNAL);
        if (count >= 0) { return true; }
        if (errno == EAGAIN || errno == ENOBUFS) { return false; }
        if (errno != EINTR) {
            fail(EXIT_FAILED, "socket %u lost after %llu answers: %s", connection->index,
                 (unsigned long long)connection->answered, strerror(errno));
        }
    }
}

static void await_output(struct run *run, struct connection *connection, bool awaits_output) {
    if (awaits_output == connection->awaits_output) { return; }
    connection->awaits_output = awaits_output;
    run_watch(run, connection, EPOLL_CTL_MOD, EPOLLIN | (awaits_output ? EPOLLOUT : 0u));
}

static void issue(struct run *run, struct connection *connection, uint64_t now) {
    struct datagrams *datagrams = connection->datagrams;
    uint64_t start;
    while (datagrams->unused_count > 0 && run_starts(run, connection, now, &start)) {
        struct slot *slot = &datagrams->slots[datagrams->unused[datagrams->unused_count - 1]];
        datagrams->unused_count -= 1;
        *slot = (struct slot){
            .number = slot->number,
            .start_ns = start,
            .sent_ns = now,
            .in_flight = true,
        };
        // A datagram for which our kernel has no room counts as lost when it expires, like others.
        bool full = !send_one(run->options, connection, slot->number);
        await_output(run, connection, full);
        if (full) { return; }
    }
}

static void release(struct run *run, struct datagrams *datagrams, struct slot *slot) {
    unsigned depth = run->options->pipeline;
    slot->in_flight = false;
    datagrams->unused[datagrams->unused_count] = (unsigned)(slot->number % depth);
    datagrams->unused_count += 1;
    slot->number += depth;
}

static void take(struct run *run, struct connection *connection, size_t length, uint64_t now) {
    const struct options *options = run->options;
    uint64_t number;
    if (length != options->size) {
        fail(EXIT_FAILED, "mismatch on socket %u: a datagram of %zu bytes", connection->index,
             length);
    }
    memcpy(&number, scratch, sizeof number);
    pattern_check(connection->index, position(options, number), scratch + sizeof number,
                  length - sizeof number);
    struct datagrams *datagrams = connection->datagrams;
    struct slot *slot = &datagrams->slots[number % options->pipeline];
    if (number > slot->number || (number == slot->number && !slot->in_flight)) {
        fail(EXIT_FAILED, "mismatch on socket %u: number %llu was never sent", connection->index,
             (unsigned long long)number);
    }
    if (number < slot->number) {
        run->result->late += 1;
        return;
    }
    uint64_t start = slot->start_ns;
    release(run, datagrams, slot);
    run_take_answer(run, connection, start, now);
}

static void handle(struct run *run, struct connection *connection, uint32_t events) {
    (void)events;
    for (unsigned count = 0; count < run->options->pipeline; count += 1) {
        ssize_t length = recv(connection->fd, scratch, sizeof scratch, 0);
        if (length < 0) {
            if (errno == EAGAIN || errno == EINTR) { break; }
            fail(EXIT_FAILED, "socket %u lost after %llu answers: %s", connection->index,
                 (unsigned long long)connection->answered, strerror(errno));
        }
        take(run, connection, (size_t)length, monotonic_ns());
    }
    issue(run, connection, monotonic_ns());
}

static void expire(struct run *run, uint64_t now) {
    static uint64_t looked_ns;
    uint64_t patience = (uint64_t)(run->options->lost_after * 1e9);
    if (now - looked_ns < patience / 8) { return; }
    looked_ns = now;
    for (unsigned index = 0; index < run->options->connections; index += 1) {
        struct connection *connection = &run->connections[index];
        struct datagrams *datagrams = connection->datagrams;
        for (unsigned place = 0; place < run->options->pipeline; place += 1) {
            struct slot *slot = &datagrams->slots[place];
            if (!slot->in_flight || now - slot->sent_ns < patience) { continue; }
            release(run, datagrams, slot);
            run_take_loss(run);
        }
        issue(run, connection, now);
    }
}

const struct exchange datagram_exchange = {
    .open = open_datagrams,
    .issue = issue,
    .handle = handle,
    .expire = expire,
};
