#ifndef SCHEDULE_H
#define SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

/// The times at which requests are due: at even distances, one connection after the other,
/// independent of answers. A request that waits for room in its pipeline counts from its due time.
/// Otherwise a server that stalls would get fewer requests meanwhile and look better than it is.
struct schedule {
    /// The time between two requests; zero if there is no schedule.
    double interval_ns;
    uint64_t origin_ns;
    unsigned connections;
    /// The number of the next request to be due, over all connections.
    uint64_t next;
};

uint64_t schedule_due_ns(const struct schedule *schedule, uint64_t number);

/// Returns the due time of a connection's request with this number, from 0.
uint64_t schedule_connection_due_ns(const struct schedule *schedule, unsigned connection,
                                    uint64_t number);

/// Returns the longest time to sleep; zero if waking up after a sleep would be too late.
uint64_t schedule_sleep_ns(const struct schedule *schedule, uint64_t now, uint64_t most);

#endif
