#ifndef PATTERN_H
#define PATTERN_H

#include <stddef.h>
#include <stdint.h>

/// The most bytes that one call of pattern_at is good for.
enum { PATTERN_CHUNK = 256 * 1024 };

void pattern_prepare(void);

/// What belongs at a position of the stream with this number. Every stream has its own stretch, so
/// that a byte which comes back on the wrong connection or at the wrong position is seen.
const unsigned char *pattern_at(unsigned stream, uint64_t position);

/// Ends the program, telling the first difference, unless these bytes are what belongs there.
void pattern_check(unsigned stream, uint64_t position, const unsigned char *bytes, size_t length);

#endif
