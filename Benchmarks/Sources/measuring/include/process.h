#ifndef PROCESS_H
#define PROCESS_H

#include <stdint.h>
#include <sys/types.h>

/// The resources that a process has used so far.
struct usage {
    /// Processor time of every thread, including those that have ended.
    uint64_t cpu_ns;
    /// The same time in the kernel's ticks, of usually 10 ms, but split.
    uint64_t user_ticks;
    uint64_t system_ticks;
    /// For the running threads: context switches, and time spent runnable without a processor.
    uint64_t voluntary_switches;
    uint64_t involuntary_switches;
    uint64_t waited_ns;
};

struct usage process_usage(pid_t pid);
struct usage usage_between(struct usage earlier, struct usage later);

/// Returns the processor time alone, by one system call, cheap enough to be frequent.
uint64_t process_cpu_ns(pid_t pid);

/// Returns resident memory, exactly: status and statm lack the changes that processors have not
/// added yet.
uint64_t process_resident_bytes(pid_t pid);
uint64_t process_peak_resident_bytes(pid_t pid);

#endif
