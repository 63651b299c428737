#include "histogram.h"

static unsigned bucket_of(uint64_t value) {
    if (value < STEPS) { return (unsigned)value; }
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - STEP_BITS;
    return (shift + 1) * STEPS + (unsigned)((value >> shift) - STEPS);
}

static uint64_t middle_of(unsigned bucket) {
    if (bucket < 2 * STEPS) { return bucket; }
    unsigned shift = bucket / STEPS - 1;
    uint64_t lowest = (uint64_t)(STEPS + bucket % STEPS) << shift;
    return lowest + ((1ull << shift) >> 1);
}

void histogram_record(struct histogram *histogram, uint64_t value) {
    histogram->counts[bucket_of(value)] += 1;
    histogram->total += 1;
    if (value > histogram->maximum) { histogram->maximum = value; }
}

uint64_t histogram_quantile(const struct histogram *histogram, double share) {
    uint64_t wanted = (uint64_t)(share * (double)histogram->total);
    if ((double)wanted < share * (double)histogram->total) { wanted += 1; }
    if (wanted == 0) { wanted = 1; }
    uint64_t seen = 0;
    for (unsigned bucket = 0; bucket < BUCKETS; bucket += 1) {
        seen += histogram->counts[bucket];
        if (seen >= wanted) {
            uint64_t middle = middle_of(bucket);
            return middle < histogram->maximum ? middle : histogram->maximum;
        }
    }
    return histogram->maximum;
}
