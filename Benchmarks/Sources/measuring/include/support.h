#ifndef SUPPORT_H
#define SUPPORT_H

#include <stddef.h>
#include <stdint.h>

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

/// Ends the program with one line on stderr.
_Noreturn void fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

uint64_t monotonic_ns(void);

void *allocate(size_t count, size_t size);

/// Returns the number of an option's text; ends the program if it is none of the range.
uint64_t whole(const char *name, const char *text, uint64_t least, uint64_t most);

#endif
