#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

// As HdrHistogram does it: 128 linear steps in each power of two, so what is read back is at most
// 0.4 % off. Debian 12 has no package of that library, and this is all that is used of it.
enum { STEP_BITS = 7, STEPS = 1 << STEP_BITS, BUCKETS = (64 - STEP_BITS + 1) * STEPS };

struct histogram {
    uint64_t counts[BUCKETS];
    uint64_t total;
    uint64_t maximum;
};

void histogram_record(struct histogram *histogram, uint64_t value);

/// The value below or at which the given share (0...1) of the recorded ones lie.
uint64_t histogram_quantile(const struct histogram *histogram, double share);

#endif
