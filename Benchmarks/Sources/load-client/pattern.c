#include "pattern.h"

#include <string.h>

#include "support.h"

// A prime, so that the pattern aligns with no buffer size. The array is longer than the period, so
// that any chunk of any stream is contiguous, for sending and comparing.
enum { PERIOD = 65521, STRIDE = 977 };

static unsigned char pattern[PERIOD + PATTERN_CHUNK];

void pattern_prepare(void) {
    uint32_t state = 0x9e3779b9;
    for (size_t index = 0; index < sizeof pattern; index += 1) {
        if (index >= PERIOD) {
            pattern[index] = pattern[index - PERIOD];
            continue;
        }
        state = state * 1664525u + 1013904223u;
        pattern[index] = (unsigned char)(state >> 24);
    }
}

const unsigned char *pattern_at(unsigned stream, uint64_t position) {
    return pattern + (position + (uint64_t)stream * STRIDE) % PERIOD;
}

void pattern_check(unsigned stream, uint64_t position, const unsigned char *bytes, size_t length) {
    const unsigned char *expected = pattern_at(stream, position);
    if (memcmp(bytes, expected, length) == 0) { return; }
    size_t at = 0;
    while (bytes[at] == expected[at]) { at += 1; }
    fail(EXIT_FAILED, "mismatch on connection %u at byte %llu: sent 0x%02x, got 0x%02x", stream,
         (unsigned long long)(position + at), expected[at], bytes[at]);
}
