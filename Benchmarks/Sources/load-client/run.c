#define _GNU_SOURCE
#include "run.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "connection.h"
#include "progress.h"
#include "support.h"

enum phase { WARMING, MEASURING, DRAINING };

struct run {
    const struct options *options;
    struct result *result;
    struct connection *connections;
    int epoll;
    enum phase phase;
    uint64_t issued;
    uint64_t answered;
    /// Never reached when the run is limited by time.
    uint64_t most_issued;
    uint64_t started_ns;
    uint64_t last_heard_ns;
    uint64_t server_cpu_ns;
    uint64_t client_cpu_ns;
};

static void register_interest(struct run *run, struct connection *connection, int operation) {
    struct epoll_event event = {
        .events = EPOLLIN | (connection->awaits_output ? EPOLLOUT : 0u),
        .data = {.ptr = connection},
    };
    if (epoll_ctl(run->epoll, operation, connection->fd, &event) != 0) {
        fail(EXIT_FAILED, "epoll_ctl: %s", strerror(errno));
    }
}

static void flush(struct run *run, struct connection *connection) {
    bool awaits_output = !connection_send(connection);
    if (awaits_output == connection->awaits_output) { return; }
    connection->awaits_output = awaits_output;
    register_interest(run, connection, EPOLL_CTL_MOD);
}

static void issue(struct run *run, struct connection *connection, uint64_t now) {
    unsigned depth = run->options->pipeline;
    while (connection->issued - connection->answered < depth) {
        if (run->phase == DRAINING || run->issued == run->most_issued) { break; }
        connection->starts[connection->issued % depth] = now;
        connection->issued += 1;
        connection->to_send += run->options->size;
        run->issued += 1;
    }
    flush(run, connection);
}

static void begin_measuring(struct run *run) {
    run->phase = MEASURING;
    if (run->options->server_pid != 0) {
        run->server_cpu_ns = process_cpu_ns(run->options->server_pid);
    }
    run->client_cpu_ns = process_cpu_ns(getpid());
    run->started_ns = monotonic_ns();
    if (run->options->slice_seconds != 0) {
        slices_begin(&run->result->slices, run->options->server_pid, run->options->slice_seconds,
                     run->started_ns);
    }
}

static void end_measuring(struct run *run) {
    run->phase = DRAINING;
    run->result->elapsed_ns = monotonic_ns() - run->started_ns;
    run->result->client_cpu_ns = process_cpu_ns(getpid()) - run->client_cpu_ns;
    if (run->options->server_pid != 0) {
        run->result->server_cpu_ns = process_cpu_ns(run->options->server_pid) - run->server_cpu_ns;
    }
}

static void take_answer(struct run *run, struct connection *connection, uint64_t now) {
    uint64_t start = connection->starts[connection->answered % run->options->pipeline];
    connection->answered += 1;
    run->answered += 1;
    if (run->phase == MEASURING) {
        histogram_record(&run->result->latencies, now - start);
        run->result->requests += 1;
        if (run->result->requests == run->options->requests) { end_measuring(run); }
    } else if (run->phase == WARMING && run->answered == run->options->warmup_requests) {
        begin_measuring(run);
    }
}

static void handle(struct run *run, struct epoll_event event) {
    struct connection *connection = event.data.ptr;
    if ((event.events & EPOLLOUT) != 0) { flush(run, connection); }
    if ((event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) { return; }
    if (!connection_receive(connection)) { return; }
    uint64_t now = monotonic_ns();
    // Bytes count as life too: a large message may take long under a slow server.
    run->last_heard_ns = now;
    uint64_t before = connection->answered;
    while (connection->received >= (connection->answered + 1) * run->options->size) {
        take_answer(run, connection, now);
    }
    if (connection->answered != before) { issue(run, connection, now); }
}

static void check_clock(struct run *run, uint64_t now) {
    const struct options *options = run->options;
    if (run->phase == MEASURING) {
        slices_continue(&run->result->slices, now, run->result->requests);
    }
    bool timed = run->phase == MEASURING && options->seconds != 0;
    if (timed && (double)(now - run->started_ns) >= options->seconds * 1e9) { end_measuring(run); }
    if (now > run->last_heard_ns
        && (double)(now - run->last_heard_ns) >= options->timeout * 1e9) {
        fail(EXIT_FAILED, "timeout: no answer for %g s, %llu of %llu requests answered",
             options->timeout, (unsigned long long)run->answered, (unsigned long long)run->issued);
    }
}

static void loop(struct run *run) {
    enum { MOST_EVENTS = 256, TICK_MS = 50 };
    struct epoll_event events[MOST_EVENTS];
    struct progress progress = {0};
    while (run->phase != DRAINING || run->answered < run->issued) {
        int count = epoll_wait(run->epoll, events, MOST_EVENTS, TICK_MS);
        if (count < 0 && errno != EINTR) { fail(EXIT_FAILED, "epoll_wait: %s", strerror(errno)); }
        for (int index = 0; index < count; index += 1) { handle(run, events[index]); }
        uint64_t now = monotonic_ns();
        check_clock(run, now);
        if (run->options->progress) {
            progress_show(&progress, run->options, now, run->answered, run->phase == WARMING);
        }
    }
    if (run->options->progress) { progress_end(&progress); }
}

static void raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) { return; }
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

void run_load(const struct options *options, struct result *result) {
    struct run run = {
        .options = options,
        .result = result,
        .connections = allocate(options->connections, sizeof(struct connection)),
        .epoll = epoll_create1(EPOLL_CLOEXEC),
        .most_issued = options->requests == 0 ? UINT64_MAX
                                              : options->warmup_requests + options->requests,
    };
    if (run.epoll < 0) { fail(EXIT_FAILED, "epoll_create1: %s", strerror(errno)); }
    raise_descriptor_limit();
    pattern_prepare();
    for (unsigned index = 0; index < options->connections; index += 1) {
        connection_open(&run.connections[index], index, options);
        register_interest(&run, &run.connections[index], EPOLL_CTL_ADD);
    }
    run.last_heard_ns = monotonic_ns();
    if (options->warmup_requests == 0) { begin_measuring(&run); }
    for (unsigned index = 0; index < options->connections; index += 1) {
        issue(&run, &run.connections[index], monotonic_ns());
    }
    loop(&run);
    for (unsigned index = 0; index < options->connections; index += 1) {
        close(run.connections[index].fd);
    }
}
