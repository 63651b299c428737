#include "schedule.h"

uint64_t schedule_due_ns(const struct schedule *schedule, uint64_t number) {
    return schedule->origin_ns + (uint64_t)((double)number * schedule->interval_ns);
}

uint64_t schedule_connection_due_ns(const struct schedule *schedule, unsigned connection,
                                    uint64_t number) {
    return schedule_due_ns(schedule, number * schedule->connections + connection);
}

uint64_t schedule_sleep_ns(const struct schedule *schedule, uint64_t now, uint64_t most) {
    // A generous time for waking up: the client has a core of its own.
    enum { WAKE_UP_NS = 60000 };
    uint64_t due = schedule_due_ns(schedule, schedule->next);
    if (due <= now + WAKE_UP_NS) { return 0; }
    uint64_t sleep = due - now - WAKE_UP_NS;
    return sleep < most ? sleep : most;
}
