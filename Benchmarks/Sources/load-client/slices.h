#ifndef SLICES_H
#define SLICES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// What a request cost the server in each short stretch of the run. On a machine with neighbours
/// the quiet stretches are comparable where the averages are not.
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
