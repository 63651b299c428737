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
    /// Requests per second of all connections together; zero for a closed loop.
    double rate;
    uint64_t warmup_requests;
    double timeout;
    /// The seconds after which an unanswered datagram counts as lost.
    double lost_after;
    /// Connections that are held without traffic.
    unsigned idle;
    /// The number of addresses that connections come from.
    unsigned sources;
    /// Whether each request has a connection of its own.
    bool churn;
    /// No requests, only connections that are reset as soon as they are established.
    bool flood;
    pid_t server_pid;
    /// The length of a slice in seconds; zero for no slices.
    double slice_seconds;
    bool progress;
    bool announce;
    bool json;
};

/// Parses the arguments; ends the program with one line if they make no sense.
struct options parse_options(int count, char **arguments);

/// Returns the source address of the n-th connection of this run.
struct source source_of(const struct options *options, uint64_t number);

#endif
