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
    /// Answered, lost as datagrams, failed with their connection: all in the measured time.
    uint64_t requests;
    uint64_t lost;
    uint64_t errors;
    /// Datagrams that came after they had been given up.
    uint64_t late;
    /// Due by the schedule, but the pipelines were full until the end of the measured time.
    uint64_t unsent;
    uint64_t elapsed_ns;
    uint64_t client_cpu_ns;
    struct usage server;
    uint64_t peak_resident_bytes;
    /// Before and after the idle connections were made.
    uint64_t resident_bytes_empty;
    uint64_t resident_bytes_idle;
    struct histogram latencies;
    struct slices slices;
};

enum phase { WARMING, MEASURING, DRAINING };

struct run;

/// How requests travel.
struct exchange {
    void (*open)(struct run *run, struct connection *connection);
    /// Starts as many requests as there may be now.
    void (*issue)(struct run *run, struct connection *connection, uint64_t now);
    void (*handle)(struct run *run, struct connection *connection, uint32_t events);
    /// Gives up what has waited for too long; absent where nothing gets lost.
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
    /// Answered, lost or failed.
    uint64_t finished;
    /// Never reached when the run is limited by time.
    uint64_t most_issued;
    struct schedule schedule;
    uint64_t started_ns;
    uint64_t last_heard_ns;
    uint64_t client_cpu_ns;
    struct usage server;
};

/// Connects, warms up, measures, and waits for every answer that is still owed.
void run_load(const struct options *options, struct result *result);

// For the exchanges:

/// Whether this connection may start a request now, and since when that one counts.
bool run_starts(struct run *run, struct connection *connection, uint64_t now, uint64_t *start);
void run_take_answer(struct run *run, struct connection *connection, uint64_t start, uint64_t now);
void run_take_loss(struct run *run);
void run_take_error(struct run *run);
void run_watch(struct run *run, struct connection *connection, int operation, uint32_t events);

#endif
