#ifndef SCHEDULE_H
#define SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

/// When requests are due: at even distances, one connection after the other. It does not heed
/// answers. A request that has to wait until its pipeline has room counts from when it was due, or
/// a server that stalls would be asked less just then and look better than it is.
struct schedule {
    /// Zero if there is no schedule.
    double interval_ns;
    uint64_t origin_ns;
    unsigned connections;
    /// The next one that falls due, of all connections.
    uint64_t next;
};

uint64_t schedule_due_ns(const struct schedule *schedule, uint64_t number);

/// When a connection's request with this number, from 0, is due.
uint64_t schedule_connection_due_ns(const struct schedule *schedule, unsigned connection,
                                    uint64_t number);

/// How long to sleep at most; zero when it is so little that waking up would be too late.
uint64_t schedule_sleep_ns(const struct schedule *schedule, uint64_t now, uint64_t most);

#endif
