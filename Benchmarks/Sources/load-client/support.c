#define _GNU_SOURCE
#include "support.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void fail(int status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load-client: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(status);
}

static uint64_t nanoseconds(struct timespec time) {
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

uint64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return nanoseconds(now);
}

// Not /proc/PID/stat, whose clock ticks are 10 ms, and not task/*/schedstat, which forgets the
// threads that have ended.
uint64_t process_cpu_ns(pid_t pid) {
    clockid_t clock;
    int error = clock_getcpuclockid(pid, &clock);
    struct timespec time;
    if (error != 0 || clock_gettime(clock, &time) != 0) {
        fail(EXIT_FAILED, "no processor time to be had for process %d: %s", (int)pid,
             error != 0 ? strerror(error) : "it is gone");
    }
    return nanoseconds(time);
}

void *allocate(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (memory == NULL) { fail(EXIT_FAILED, "out of memory"); }
    return memory;
}
