#ifndef RUN_H
#define RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "connection.h"
#include "histogram.h"
#include "options.h"
#include "process.h"
#include "schedule.h"
#include "slices.h"

struct result {
    /// Requests that were answered, lost as datagrams, or failed with their connection, all in the
    /// measured time.
    uint64_t requests;
    uint64_t lost;
    uint64_t errors;
    /// Datagrams that came after they had been counted as lost.
    uint64_t late;
    /// Requests that were due while the pipelines were full until the end of the measured time.
    uint64_t unsent;
    uint64_t elapsed_ns;
    uint64_t client_cpu_ns;
    struct usage server;
    uint64_t peak_resident_bytes;
    /// The server's memory before and after the idle connections were opened.
    uint64_t resident_bytes_empty;
    uint64_t resident_bytes_idle;
    struct histogram latencies;
    struct slices slices;
};

enum phase { WARMING, MEASURING, DRAINING };

struct run;

/// The operations of one kind of load.
struct exchange {
    void (*open)(struct run *run, struct connection *connection);
    /// Starts as many requests as allowed now.
    void (*issue)(struct run *run, struct connection *connection, uint64_t now);
    void (*handle)(struct run *run, struct connection *connection, uint32_t events);
    /// Counts requests as lost that have waited too long; NULL where nothing gets lost.
    void (*expire)(struct run *run, uint64_t now);
};

extern const struct exchange stream_exchange;
extern const struct exchange datagram_exchange;
extern const struct exchange churn_exchange;

struct run {
    const struct options *options;
    const struct exchange *exchange;
    struct result *result;
    struct connection *connections;
    int epoll;
    enum phase phase;
    uint64_t issued;
    /// Requests that were answered, lost or failed.
    uint64_t finished;
    /// The most requests to issue; UINT64_MAX if time limits the run.
    uint64_t most_issued;
    struct schedule schedule;
    uint64_t started_ns;
    uint64_t last_heard_ns;
    uint64_t client_cpu_ns;
    struct usage server;
};

/// Connects, warms up, measures, and waits for every outstanding answer.
void run_load(const struct options *options, struct result *result);

// Functions that the exchanges call:

/// Returns whether this connection may start a request now, and sets the time from which it counts.
bool run_starts(struct run *run, struct connection *connection, uint64_t now, uint64_t *start);
void run_take_answer(struct run *run, struct connection *connection, uint64_t start, uint64_t now);
void run_take_loss(struct run *run);
void run_take_error(struct run *run);
void run_watch(struct run *run, struct connection *connection, int operation, uint32_t events);

#endif
