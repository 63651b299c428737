#ifndef IDLE_H
#define IDLE_H

#include "options.h"
#include "run.h"

/// Connections that are held without traffic.
struct idle {
    unsigned count;
    int *fds;
};

/// Opens the idle connections. Each sends one request, so that all of the server has handled it.
/// Records the server's memory before and after.
struct idle idle_open(const struct options *options, struct result *result);

/// Ends the program if the server has closed one.
void idle_check_and_close(struct idle *idle);

#endif
