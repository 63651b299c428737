#define _GNU_SOURCE
#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "support.h"

// Not from /proc/PID/stat, whose clock ticks are 10 ms, and not from task/*/schedstat, which lacks
// the threads that have ended.
uint64_t process_cpu_ns(pid_t pid) {
    clockid_t clock;
    int error = clock_getcpuclockid(pid, &clock);
    struct timespec time;
    if (error != 0 || clock_gettime(clock, &time) != 0) {
        fail(EXIT_FAILED, "no processor time to be had for process %d: %s", (int)pid,
             error != 0 ? strerror(error) : "it is gone");
    }
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/// Returns the number after a name at the start of a line, or 0.
static uint64_t field(const char *path, const char *name) {
    FILE *file = fopen(path, "r");
    if (file == NULL) { return 0; }
    char line[256];
    uint64_t value = 0;
    bool found = false;
    while (!found && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, strlen(name)) != 0) { continue; }
        found = sscanf(line + strlen(name), "%" SCNu64, &value) == 1;
    }
    fclose(file);
    return value;
}

static void add_ticks(struct usage *usage, pid_t pid) {
    char path[64];
    char text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (file == NULL) { return; }
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = '\0';
    // A program's name may contain any characters, including closing brackets.
    const char *fields = strrchr(text, ')');
    if (fields == NULL) { return; }
    sscanf(fields + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64,
           &usage->user_ticks, &usage->system_ticks);
}

static void add_task(struct usage *usage, const char *folder, const char *task) {
    char path[320];
    snprintf(path, sizeof path, "%s/%s/status", folder, task);
    usage->voluntary_switches += field(path, "voluntary_ctxt_switches:");
    usage->involuntary_switches += field(path, "nonvoluntary_ctxt_switches:");
    snprintf(path, sizeof path, "%s/%s/schedstat", folder, task);
    FILE *file = fopen(path, "r");
    if (file == NULL) { return; }
    uint64_t waited_ns = 0;
    if (fscanf(file, "%*u %" SCNu64, &waited_ns) == 1) { usage->waited_ns += waited_ns; }
    fclose(file);
}

struct usage process_usage(pid_t pid) {
    struct usage usage = {.cpu_ns = process_cpu_ns(pid)};
    add_ticks(&usage, pid);
    char folder[64];
    snprintf(folder, sizeof folder, "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(folder);
    if (tasks == NULL) { fail(EXIT_FAILED, "%s: %s", folder, strerror(errno)); }
    for (struct dirent *entry = readdir(tasks); entry != NULL; entry = readdir(tasks)) {
        if (entry->d_name[0] != '.') { add_task(&usage, folder, entry->d_name); }
    }
    closedir(tasks);
    return usage;
}

/// Returns the rise, or 0 if a sum fell because a thread has ended in between.
static uint64_t rise(uint64_t earlier, uint64_t later) {
    return later > earlier ? later - earlier : 0;
}

struct usage usage_between(struct usage earlier, struct usage later) {
    return (struct usage){
        .cpu_ns = rise(earlier.cpu_ns, later.cpu_ns),
        .user_ticks = rise(earlier.user_ticks, later.user_ticks),
        .system_ticks = rise(earlier.system_ticks, later.system_ticks),
        .voluntary_switches = rise(earlier.voluntary_switches, later.voluntary_switches),
        .involuntary_switches = rise(earlier.involuntary_switches, later.involuntary_switches),
        .waited_ns = rise(earlier.waited_ns, later.waited_ns),
    };
}

uint64_t process_resident_bytes(pid_t pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    return field(path, "Rss:") * 1024;
}

uint64_t process_peak_resident_bytes(pid_t pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    return field(path, "VmHWM:") * 1024;
}
