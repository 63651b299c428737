#define _GNU_SOURCE
#include "run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "idle.h"
#include "pattern.h"
#include "progress.h"
#include "support.h"

void run_watch(struct run *run, struct connection *connection, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data = {.ptr = connection}};
    if (epoll_ctl(run->epoll, operation, connection->fd, &event) != 0) {
        fail(EXIT_FAILED, "epoll_ctl: %s", strerror(errno));
    }
}

bool run_starts(struct run *run, struct connection *connection, uint64_t now, uint64_t *start) {
    if (run->phase == DRAINING || run->issued == run->most_issued) { return false; }
    *start = now;
    if (run->schedule.interval_ns != 0) {
        *start =
            schedule_connection_due_ns(&run->schedule, connection->index, connection->issued);
        if (*start > now) { return false; }
    }
    connection->issued += 1;
    run->issued += 1;
    return true;
}

static volatile sig_atomic_t interrupted;

static void interrupt(int number) {
    (void)number;
    interrupted = 1;
}

static void begin_measuring(struct run *run) {
    run->phase = MEASURING;
    // Only now is there something to report. A second signal ends the program, by SA_RESETHAND.
    struct sigaction action = {.sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    pid_t server = run->options->server_pid;
    if (server != 0) { run->server = process_usage(server); }
    run->client_cpu_ns = process_cpu_ns(getpid());
    run->started_ns = monotonic_ns();
    if (run->options->announce) { fputs("measuring\n", stderr); }
    if (run->options->slice_seconds != 0) {
        slices_begin(&run->result->slices, server, run->options->slice_seconds, run->started_ns);
    }
}

/// Counts the requests that were due but not sent, with their delay so far. Without them the
/// latencies would flatter the server.
static void count_unsent(struct run *run, uint64_t now) {
    if (run->schedule.interval_ns == 0 || run->most_issued != UINT64_MAX) { return; }
    for (unsigned index = 0; index < run->options->connections; index += 1) {
        uint64_t number = run->connections[index].issued;
        uint64_t due = schedule_connection_due_ns(&run->schedule, index, number);
        while (due < now) {
            histogram_record(&run->result->latencies, now - due);
            run->result->unsent += 1;
            number += 1;
            due = schedule_connection_due_ns(&run->schedule, index, number);
        }
    }
}

static void end_measuring(struct run *run) {
    struct result *result = run->result;
    uint64_t now = monotonic_ns();
    run->phase = DRAINING;
    result->elapsed_ns = now - run->started_ns;
    result->client_cpu_ns = process_cpu_ns(getpid()) - run->client_cpu_ns;
    pid_t server = run->options->server_pid;
    if (server != 0) {
        result->server = usage_between(run->server, process_usage(server));
        result->peak_resident_bytes = process_peak_resident_bytes(server);
    }
    count_unsent(run, now);
}

static void finish(struct run *run) {
    const struct options *options = run->options;
    const struct result *result = run->result;
    run->finished += 1;
    if (run->phase == WARMING && run->finished >= options->warmup_requests) {
        begin_measuring(run);
        return;
    }
    uint64_t measured = result->requests + result->lost + result->errors;
    if (run->phase == MEASURING && measured == options->requests) { end_measuring(run); }
}

void run_take_answer(struct run *run, struct connection *connection, uint64_t start, uint64_t now) {
    connection->answered += 1;
    // With a schedule, the requests in flight at the end are the slow ones, and count as measured.
    bool belated = run->phase == DRAINING && run->schedule.interval_ns != 0
        && start >= run->started_ns;
    if (run->phase == MEASURING) { run->result->requests += 1; }
    if (run->phase == MEASURING || belated) {
        histogram_record(&run->result->latencies, now - start);
    }
    run->last_heard_ns = now;
    finish(run);
}

void run_take_loss(struct run *run) {
    if (run->phase != WARMING) { run->result->lost += 1; }
    finish(run);
}

void run_take_error(struct run *run) {
    if (run->phase != WARMING) { run->result->errors += 1; }
    finish(run);
}

static void check_clock(struct run *run, uint64_t now) {
    const struct options *options = run->options;
    if (run->phase == MEASURING) {
        slices_continue(&run->result->slices, now, run->result->requests);
    }
    bool timed = run->phase == MEASURING && options->seconds != 0;
    if (timed && (double)(now - run->started_ns) >= options->seconds * 1e9) { end_measuring(run); }
    if (interrupted && run->phase == MEASURING) { end_measuring(run); }
    // Only if an answer is due: with a slow schedule, silence does not mean a dead server.
    bool owed = run->finished < run->issued;
    if (owed && now > run->last_heard_ns
        && (double)(now - run->last_heard_ns) >= options->timeout * 1e9) {
        fail(EXIT_FAILED, "timeout: no answer for %g s, %llu of %llu requests answered",
             options->timeout, (unsigned long long)run->finished, (unsigned long long)run->issued);
    }
    if (run->exchange->expire != NULL) { run->exchange->expire(run, now); }
}

static void issue_due(struct run *run, uint64_t now) {
    struct schedule *schedule = &run->schedule;
    while (run->phase != DRAINING && schedule_due_ns(schedule, schedule->next) <= now) {
        run->exchange->issue(run, &run->connections[schedule->next % schedule->connections], now);
        schedule->next += 1;
    }
}

static int await(struct run *run, struct epoll_event *events, int most) {
    enum { TICK_MS = 50 };
    int count;
    if (run->schedule.interval_ns == 0 || run->phase == DRAINING) {
        count = epoll_wait(run->epoll, events, most, TICK_MS);
    } else {
        uint64_t sleep = schedule_sleep_ns(&run->schedule, monotonic_ns(), TICK_MS * 1000000u);
        struct timespec time = {.tv_nsec = (long)sleep};
        count = epoll_pwait2(run->epoll, events, most, &time, NULL);
    }
    if (count < 0 && errno != EINTR) { fail(EXIT_FAILED, "epoll_wait: %s", strerror(errno)); }
    return count;
}

static void loop(struct run *run) {
    enum { MOST_EVENTS = 256 };
    struct epoll_event events[MOST_EVENTS];
    struct progress progress = {0};
    while (run->phase != DRAINING || run->finished < run->issued) {
        int count = await(run, events, MOST_EVENTS);
        for (int index = 0; index < count; index += 1) {
            run->exchange->handle(run, events[index].data.ptr, events[index].events);
        }
        uint64_t now = monotonic_ns();
        if (run->schedule.interval_ns != 0) { issue_due(run, now); }
        check_clock(run, now);
        if (run->options->progress) {
            progress_show(&progress, run->options, now, run->finished, run->phase == WARMING);
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

static const struct exchange *exchange_for(const struct options *options) {
    if (options->churn) { return &churn_exchange; }
    return options->target.transport == TRANSPORT_UDP ? &datagram_exchange : &stream_exchange;
}

/// Sends the first request of each connection; later ones follow answers, or the schedule.
static void begin(struct run *run) {
    const struct options *options = run->options;
    if (options->warmup_requests == 0) { begin_measuring(run); }
    run->last_heard_ns = options->warmup_requests == 0 ? run->started_ns : monotonic_ns();
    if (options->rate != 0) {
        run->schedule = (struct schedule){
            .interval_ns = 1e9 / options->rate,
            .origin_ns = run->last_heard_ns,
            .connections = options->connections,
        };
        return;
    }
    for (unsigned index = 0; index < options->connections; index += 1) {
        run->exchange->issue(run, &run->connections[index], monotonic_ns());
    }
}

void run_load(const struct options *options, struct result *result) {
    struct run run = {
        .options = options,
        .exchange = exchange_for(options),
        .result = result,
        .connections = allocate(options->connections, sizeof(struct connection)),
        .epoll = epoll_create1(EPOLL_CLOEXEC),
        .most_issued = options->requests == 0 ? UINT64_MAX
                                              : options->warmup_requests + options->requests,
    };
    if (run.epoll < 0) { fail(EXIT_FAILED, "epoll_create1: %s", strerror(errno)); }
    raise_descriptor_limit();
    pattern_prepare();
    struct idle idle = idle_open(options, result);
    for (unsigned index = 0; index < options->connections; index += 1) {
        run.connections[index] = (struct connection){.fd = -1, .index = index};
        run.exchange->open(&run, &run.connections[index]);
    }
    begin(&run);
    loop(&run);
    for (unsigned index = 0; index < options->connections; index += 1) {
        if (run.connections[index].fd >= 0) { close(run.connections[index].fd); }
    }
    idle_check_and_close(&idle);
}
