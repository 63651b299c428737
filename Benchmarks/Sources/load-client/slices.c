#include "slices.h"

#include <stdlib.h>

#include "process.h"
#include "support.h"

void slices_begin(struct slices *slices, pid_t server, double seconds, uint64_t now) {
    slices->server = server;
    slices->length_ns = (uint64_t)(seconds * 1e9);
    slices->started_ns = now;
    slices->cpu_ns = process_cpu_ns(server);
}

static void append(struct slices *slices, double value) {
    if (slices->count == slices->capacity) {
        slices->capacity = slices->capacity == 0 ? 256 : slices->capacity * 2;
        size_t size = slices->capacity * sizeof *slices->cpu_us_per_request;
        slices->cpu_us_per_request = realloc(slices->cpu_us_per_request, size);
        if (slices->cpu_us_per_request == NULL) { fail(EXIT_FAILED, "out of memory"); }
    }
    slices->cpu_us_per_request[slices->count] = value;
    slices->count += 1;
}

void slices_continue(struct slices *slices, uint64_t now, uint64_t requests) {
    if (slices->length_ns == 0 || now < slices->started_ns + slices->length_ns) { return; }
    // A slice without an answer continues until there is one, because it has no cost per request.
    if (requests == slices->requests) { return; }
    uint64_t cpu_ns = process_cpu_ns(slices->server);
    append(slices, (double)(cpu_ns - slices->cpu_ns) / 1e3 / (double)(requests - slices->requests));
    slices->started_ns = now;
    slices->cpu_ns = cpu_ns;
    slices->requests = requests;
}
