#define _GNU_SOURCE
#include "support.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void fail(int status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(status);
}

uint64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void *allocate(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (memory == NULL) { fail(EXIT_FAILED, "out of memory"); }
    return memory;
}

uint64_t whole(const char *name, const char *text, uint64_t least, uint64_t most) {
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    // strtoull parses "-1" as a very large number.
    bool bad = text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0;
    if (bad || value < least || value > most) {
        fail(EXIT_USAGE, "--%s takes a number from %llu to %llu, not '%s'", name,
             (unsigned long long)least, (unsigned long long)most, text);
    }
    return value;
}
