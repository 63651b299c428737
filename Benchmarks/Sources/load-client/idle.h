#ifndef IDLE_H
#define IDLE_H

#include "options.h"
#include "run.h"

/// Connections that are held without traffic.
struct idle {
    unsigned count;
    int *fds;
};

/// Each asks once, so that it has passed through all of the server before it falls silent. Notes
/// the server's memory before and after.
struct idle idle_open(const struct options *options, struct result *result);

/// Ends the program if the server has closed one.
void idle_check_and_close(struct idle *idle);

#endif
