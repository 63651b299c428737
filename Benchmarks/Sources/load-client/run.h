#ifndef RUN_H
#define RUN_H

#include <stdint.h>

#include "histogram.h"
#include "options.h"
#include "slices.h"

struct result {
    uint64_t requests;
    uint64_t elapsed_ns;
    uint64_t server_cpu_ns;
    uint64_t client_cpu_ns;
    struct histogram latencies;
    struct slices slices;
};

/// Connects, warms up, measures, and waits for every answer that is still owed.
void run_load(const struct options *options, struct result *result);

#endif
