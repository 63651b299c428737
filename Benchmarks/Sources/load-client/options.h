#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct options {
    uint16_t port;
    unsigned connections;
    uint64_t size;
    unsigned pipeline;
    /// Exactly one of these two is set.
    uint64_t requests;
    double seconds;
    uint64_t warmup_requests;
    double timeout;
    pid_t server_pid;
    /// Zero for none.
    double slice_seconds;
    bool progress;
    bool json;
};

/// Ends the program with one line if what was asked for makes no sense.
struct options parse_options(int count, char **arguments);

#endif
