// A library to preload into a server: counts its allocations, and writes the counts when it exits.
#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// glibc's own names, because dlsym, which would find the next malloc, itself allocates.
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *memory);

static atomic_ullong mallocs, callocs, reallocs, aligned, frees;

static void count(atomic_ullong *counter) {
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

void *malloc(size_t size) {
    count(&mallocs);
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
    count(&callocs);
    return __libc_calloc(number, size);
}

void *realloc(void *memory, size_t size) {
    count(&reallocs);
    return __libc_realloc(memory, size);
}

void *memalign(size_t alignment, size_t size) {
    count(&aligned);
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **memory, size_t alignment, size_t size) {
    if (alignment % sizeof(void *) != 0 || (alignment & (alignment - 1)) != 0) { return EINVAL; }
    void *found = memalign(alignment, size);
    if (found == NULL) { return ENOMEM; }
    *memory = found;
    return 0;
}

void free(void *memory) {
    if (memory != NULL) { count(&frees); }
    __libc_free(memory);
}

__attribute__((destructor)) static void report(void) {
    const char *path = getenv("MALLOC_COUNT_FILE");
    if (path == NULL) { return; }
    FILE *file = fopen(path, "w");
    if (file == NULL) { _exit(99); }
    fprintf(file, "malloc %llu\ncalloc %llu\nrealloc %llu\naligned %llu\nfree %llu\n", mallocs,
            callocs, reallocs, aligned, frees);
    if (fclose(file) != 0) { _exit(99); }
}
