#ifndef SUPPORT_H
#define SUPPORT_H

#include <stdint.h>
#include <sys/types.h>

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

/// Ends the program with one line on stderr.
_Noreturn void fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

uint64_t monotonic_ns(void);

/// The processor time of every thread of a process, those that have ended included.
uint64_t process_cpu_ns(pid_t pid);

void *allocate(size_t count, size_t size);

#endif
