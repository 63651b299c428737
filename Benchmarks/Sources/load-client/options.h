#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "target.h"

struct options {
    struct target target;
    unsigned connections;
    uint64_t size;
    unsigned pipeline;
    /// Exactly one of these two is set.
    uint64_t requests;
    double seconds;
    /// Requests per second of all connections together; zero for as fast as answers come.
    double rate;
    uint64_t warmup_requests;
    double timeout;
    /// When an unanswered datagram counts as lost.
    double lost_after;
    /// Connections that are held without traffic.
    unsigned idle;
    /// How many addresses connections come from.
    unsigned sources;
    /// A connection for each request.
    bool churn;
    /// No requests at all: connections that are reset as soon as they are there.
    bool flood;
    pid_t server_pid;
    /// Zero for none.
    double slice_seconds;
    bool progress;
    bool announce;
    bool json;
};

/// Ends the program with one line if what was asked for makes no sense.
struct options parse_options(int count, char **arguments);

/// Where the n-th connection of this run comes from.
struct source source_of(const struct options *options, uint64_t number);

#endif
