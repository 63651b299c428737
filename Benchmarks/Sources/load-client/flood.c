// A flood: a peer that connects, resets and repeats this, without a request.
#define _GNU_SOURCE
#include "flood.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support.h"

/// Failures in a row after which the client concludes that nothing listens any more.
enum { MOST_REFUSALS = 10000 };

struct flood {
    uint64_t established;
    /// Attempts without an answer in time, because the backlog was full.
    uint64_t unanswered;
    unsigned refused_in_a_row;
};

static void take_refusal(struct flood *flood, int error) {
    flood->refused_in_a_row += 1;
    if (flood->refused_in_a_row == MOST_REFUSALS) {
        fail(EXIT_FAILED, "%d connections in a row failed, the last with: %s", MOST_REFUSALS,
             strerror(error));
    }
}

/// Closes with a reset, which leaves no state on either side, so that ports never run out.
static void reset(int fd) {
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

static void connect_once(struct flood *flood, const struct options *options, struct source source) {
    // With a full backlog the kernel drops the SYN and would repeat it after a second. A client
    // that gives up sooner and connects again gets the next free place.
    enum { PATIENCE_MS = 1 };
    int fd = target_begin_connect(&options->target, source);
    if (fd < 0) {
        take_refusal(flood, errno);
        return;
    }
    struct pollfd wanted = {.fd = fd, .events = POLLOUT};
    if (poll(&wanted, 1, PATIENCE_MS) <= 0) {
        flood->unanswered += 1;
    } else {
        int error = 0;
        socklen_t length = sizeof error;
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
        if (error == 0) {
            flood->established += 1;
            flood->refused_in_a_row = 0;
        } else {
            take_refusal(flood, error);
        }
    }
    reset(fd);
}

static void report(const struct flood *flood, uint64_t elapsed_ns, bool json) {
    unsigned long long established = flood->established;
    unsigned long long unanswered = flood->unanswered;
    double seconds = (double)elapsed_ns / 1e9;
    double per_second = (double)established / seconds;
    if (json) {
        printf("{\"flood\":true,\"requests\":%llu,\"unanswered\":%llu,\"seconds\":%.6f,"
               "\"requests_per_second\":%.1f}\n", established, unanswered, seconds, per_second);
    } else {
        printf("flood         %llu connections, %llu not answered, in %.3f s, %.0f/s\n",
               established, unanswered, seconds, per_second);
    }
}

void run_flood(const struct options *options) {
    struct flood flood = {0};
    uint64_t started = monotonic_ns();
    uint64_t length = (uint64_t)(options->seconds * 1e9);
    uint64_t elapsed = 0;
    for (uint64_t number = 0; elapsed < length; number += 1) {
        connect_once(&flood, options, source_of(options, number));
        elapsed = monotonic_ns() - started;
    }
    report(&flood, elapsed, options->json);
}
