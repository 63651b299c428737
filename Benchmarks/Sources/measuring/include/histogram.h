#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

// The layout of HdrHistogram: 128 linear steps in each power of two, so that a result is at most
// 0.4 % off. Debian 12 has no package of that library, and the client needs no other part of it.
enum { STEP_BITS = 7, STEPS = 1 << STEP_BITS, BUCKETS = (64 - STEP_BITS + 1) * STEPS };

struct histogram {
    uint64_t counts[BUCKETS];
    uint64_t total;
    uint64_t maximum;
};

void histogram_record(struct histogram *histogram, uint64_t value);

/// Returns the value at or below which the given share (0...1) of the recorded values lie.
uint64_t histogram_quantile(const struct histogram *histogram, double share);

#endif
