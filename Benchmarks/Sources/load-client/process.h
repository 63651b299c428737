#ifndef PROCESS_H
#define PROCESS_H

#include <stdint.h>
#include <sys/types.h>

/// What a process has used so far.
struct usage {
    /// Processor time of every thread, those that have ended included.
    uint64_t cpu_ns;
    /// The same in the kernel's ticks of mostly 10 ms, but split.
    uint64_t user_ticks;
    uint64_t system_ticks;
    /// Of the threads that live: switches, and time spent runnable without a processor.
    uint64_t voluntary_switches;
    uint64_t involuntary_switches;
    uint64_t waited_ns;
};

struct usage process_usage(pid_t pid);
struct usage usage_between(struct usage earlier, struct usage later);

/// The processor time alone: one call, cheap enough to make often.
uint64_t process_cpu_ns(pid_t pid);

/// Resident memory, exactly: status and statm lag behind by what each processor has not added yet.
uint64_t process_resident_bytes(pid_t pid);
uint64_t process_peak_resident_bytes(pid_t pid);

#endif
