#ifndef SLICES_H
#define SLICES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// The server's cost of a request in each short slice of the run. On a machine with neighbours the
/// quiet slices are comparable, although the averages are not.
struct slices {
    pid_t server;
    uint64_t length_ns;
    uint64_t started_ns;
    uint64_t cpu_ns;
    uint64_t requests;
    size_t count;
    size_t capacity;
    double *cpu_us_per_request;
};

void slices_begin(struct slices *slices, pid_t server, double seconds, uint64_t now);
void slices_continue(struct slices *slices, uint64_t now, uint64_t requests);

#endif
