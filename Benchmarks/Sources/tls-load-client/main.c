// Measures servers over TLS, on one thread: echoes, full and resumed handshakes, idle connections.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "connection.h"
#include "histogram.h"
#include "process.h"
#include "support.h"

// Idle connections are opened together, so that client and server need not take turns for each.
enum { MOST_EVENTS = 256, PATIENCE_MS = 30000, BATCH = 64 };

struct run {
    struct options options;
    SSL_CTX *context;
    int epoll;
    struct connection *connections;
    /// The number of connections that were opened.
    uint64_t opened;
    uint64_t answered;
    bool is_measuring;
    uint64_t resumed;
    uint64_t requests;
    uint64_t began_ns;
    uint64_t elapsed_ns;
    struct usage client;
    struct usage server;
    double bytes_per_idle;
    const char *cipher;
};

static struct histogram latencies;

static void watch(struct run *run, struct connection *connection, int operation) {
    struct epoll_event event = {
        .events = connection->awaits_output ? EPOLLOUT : EPOLLIN,
        .data = {.ptr = connection},
    };
    if (epoll_ctl(run->epoll, operation, connection->fd, &event) != 0) {
        fail(EXIT_FAILED, "epoll_ctl: %s", strerror(errno));
    }
}

static void open_next(struct run *run, struct connection *connection) {
    connection_open(connection, run->context, run->opened);
    run->opened += 1;
    connection_ask(connection, monotonic_ns());
}

static void begin_measuring(struct run *run) {
    run->is_measuring = true;
    run->began_ns = monotonic_ns();
    run->client = process_usage(getpid());
    if (run->options.server_pid != 0) { run->server = process_usage(run->options.server_pid); }
}

/// Counts an answer. The first ones are the warm-up.
static void count(struct run *run, struct connection *connection) {
    run->answered += 1;
    uint64_t now = monotonic_ns();
    bool is_resumed = SSL_session_reused(connection->ssl);
    if (run->answered == 1) { run->cipher = SSL_get_cipher_name(connection->ssl); }
    if (run->options.mode == MODE_RESUMED && !is_resumed) {
        fail(EXIT_FAILED, "connection %u was not resumed", connection->index);
    }
    if (run->is_measuring) {
        run->requests += 1;
        run->resumed += is_resumed;
        histogram_record(&latencies, now - connection->started_ns);
    } else if (run->answered >= run->options.warmup_requests) {
        begin_measuring(run);
    }
}

static bool is_over(const struct run *run) {
    if (!run->is_measuring) { return false; }
    if (run->options.requests != 0) { return run->requests >= run->options.requests; }
    return (double)(monotonic_ns() - run->began_ns) >= run->options.seconds * 1e9;
}

/// Goes on until the connection waits. With a handshake for each request it is another one then.
static void advance(struct run *run, struct connection *connection) {
    bool awaited_output = connection->awaits_output;
    int operation = EPOLL_CTL_MOD;
    while (connection_step(connection) == PROGRESS_ANSWERED) {
        count(run, connection);
        if (is_over(run)) { return; }
        if (run->options.mode == MODE_ECHO) {
            connection_ask(connection, monotonic_ns());
        } else {
            connection_close(connection);
            open_next(run, connection);
            operation = EPOLL_CTL_ADD;
        }
    }
    if (operation == EPOLL_CTL_ADD || connection->awaits_output != awaited_output) {
        watch(run, connection, operation);
    }
}

static void open_all(struct run *run) {
    run->connections = allocate(run->options.connections, sizeof *run->connections);
    for (unsigned index = 0; index < run->options.connections; index += 1) {
        struct connection *connection = &run->connections[index];
        *connection = (struct connection){.options = &run->options, .index = index};
        open_next(run, connection);
        connection_finish(connection);
        // The first connection of each gets the first ticket.
        if (run->options.mode != MODE_ECHO) {
            connection_close(connection);
            open_next(run, connection);
        } else {
            connection_ask(connection, monotonic_ns());
        }
        watch(run, connection, EPOLL_CTL_ADD);
    }
    if (run->options.warmup_requests == 0) { begin_measuring(run); }
}

static void serve_requests(struct run *run) {
    for (unsigned index = 0; index < run->options.connections && !is_over(run); index += 1) {
        advance(run, &run->connections[index]);
    }
    struct epoll_event events[MOST_EVENTS];
    while (!is_over(run)) {
        int ready = epoll_wait(run->epoll, events, MOST_EVENTS, PATIENCE_MS);
        if (ready == 0) { fail(EXIT_FAILED, "no answer for %d s", PATIENCE_MS / 1000); }
        if (ready < 0 && errno != EINTR) { fail(EXIT_FAILED, "epoll_wait: %s", strerror(errno)); }
        for (int index = 0; index < ready && !is_over(run); index += 1) {
            advance(run, events[index].data.ptr);
        }
    }
    run->elapsed_ns = monotonic_ns() - run->began_ns;
    run->client = usage_between(run->client, process_usage(getpid()));
    if (run->options.server_pid != 0) {
        run->server = usage_between(run->server, process_usage(run->options.server_pid));
    }
}

/// Waits until every one of these connections has its answer.
static void finish_all(struct connection *batch, unsigned count) {
    bool is_answered[BATCH] = {false};
    for (unsigned left = count; left > 0;) {
        unsigned first = count;
        for (unsigned index = 0; index < count; index += 1) {
            if (is_answered[index]) { continue; }
            is_answered[index] = connection_step(&batch[index]) == PROGRESS_ANSWERED;
            if (is_answered[index]) {
                left -= 1;
            } else if (first == count) {
                first = index;
            }
        }
        if (left > 0) { connection_wait(&batch[first]); }
    }
}

/// Opens connections that ask once, and reads the server's memory. The first half leaves behind
/// what handshakes at one time need, which later ones use again: the figure of the second half
/// differs by 1 % from one run to the next, and by 3 % with a first part of 64.
static void hold(struct run *run) {
    if (run->options.idle == 0) { return; }
    pid_t server = run->options.server_pid;
    unsigned all = 2 * run->options.idle;
    struct connection *idle = allocate(all, sizeof *idle);
    uint64_t before = 0;
    for (unsigned first = 0; first < all;) {
        unsigned half = first < run->options.idle ? run->options.idle : all;
        unsigned count = half - first < BATCH ? half - first : BATCH;
        for (unsigned index = 0; index < count; index += 1) {
            struct connection *connection = &idle[first + index];
            *connection = (struct connection){.options = &run->options, .index = first + index};
            open_next(run, connection);
        }
        finish_all(idle + first, count);
        first += count;
        if (first == run->options.idle && server != 0) { before = process_resident_bytes(server); }
    }
    if (server == 0) { return; }
    double grown = (double)process_resident_bytes(server) - (double)before;
    run->bytes_per_idle = grown / run->options.idle;
}

static void report(const struct run *run) {
    static const char *const modes[] = {"echo", "full", "resumed"};
    double requests = run->requests == 0 ? 1 : (double)run->requests;
    printf("{\"mode\":\"%s\",\"tls\":\"%s\",\"cipher\":\"%s\",\"connections\":%u,\"size\":%zu,"
           "\"requests\":%llu,\"resumed\":%llu,\"seconds\":%.6f,\"requests_per_second\":%.1f",
           modes[run->options.mode], run->options.version == TLS1_2_VERSION ? "1.2" : "1.3",
           run->cipher, run->options.connections, run->options.size,
           (unsigned long long)run->requests, (unsigned long long)run->resumed,
           (double)run->elapsed_ns / 1e9, requests * 1e9 / (double)run->elapsed_ns);
    printf(",\"p50_us\":%.2f,\"p99_us\":%.2f,\"max_us\":%.2f,\"client_cpu_us_per_request\":%.4f",
           (double)histogram_quantile(&latencies, 0.5) / 1e3,
           (double)histogram_quantile(&latencies, 0.99) / 1e3, (double)latencies.maximum / 1e3,
           (double)run->client.cpu_ns / 1e3 / requests);
    if (run->options.server_pid != 0) {
        printf(",\"server_cpu_us_per_request\":%.4f", (double)run->server.cpu_ns / 1e3 / requests);
        if (run->options.idle != 0) {
            printf(",\"idle\":%u,\"server_rss_bytes_per_idle\":%.1f", run->options.idle,
                   run->bytes_per_idle);
        }
    }
    puts("}");
}

int main(int count, char **arguments) {
    struct run run = {.options = parse_options(count, arguments)};
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    signal(SIGPIPE, SIG_IGN);
    run.context = connection_context(&run.options);
    connection_prepare(&run.options);
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (run.epoll < 0) { fail(EXIT_FAILED, "epoll_create1: %s", strerror(errno)); }
    open_all(&run);
    serve_requests(&run);
    hold(&run);
    report(&run);
    return 0;
}
