#ifndef PATTERN_H
#define PATTERN_H

#include <stddef.h>
#include <stdint.h>

/// The most bytes that one call of pattern_at provides.
enum { PATTERN_CHUNK = 256 * 1024 };

void pattern_prepare(void);

/// Returns the expected bytes at a position of the stream with this number. Every stream has its
/// own part, so that a byte on the wrong connection or at the wrong position is noticed.
const unsigned char *pattern_at(unsigned stream, uint64_t position);

/// Ends the program, and reports the first difference, unless these are the expected bytes.
void pattern_check(unsigned stream, uint64_t position, const unsigned char *bytes, size_t length);

#endif
