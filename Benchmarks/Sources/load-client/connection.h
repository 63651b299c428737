#ifndef CONNECTION_H
#define CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "options.h"

struct connection {
    int fd;
    unsigned index;
    bool awaits_output;
    /// Positions in the byte stream of this connection.
    uint64_t to_send;
    uint64_t sent;
    uint64_t received;
    /// Requests.
    uint64_t issued;
    uint64_t answered;
    /// When each request in flight was issued, by its number modulo the pipeline's depth.
    uint64_t *starts;
};

/// Every connection sends its own stretch of the pattern, so that a byte which comes back on the
/// wrong connection or at the wrong position is seen.
void pattern_prepare(void);

void connection_open(struct connection *connection, unsigned index, const struct options *options);

/// Sends what is due, as far as the socket takes it. False if some is left.
bool connection_send(struct connection *connection);

/// Reads once and checks what came. False if nothing was there.
bool connection_receive(struct connection *connection);

#endif
