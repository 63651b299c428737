#ifndef CONNECTION_H
#define CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct datagrams;

struct connection {
    int fd;
    unsigned index;
    bool awaits_output;
    /// Positions in the byte stream of this connection.
    uint64_t to_send;
    uint64_t sent;
    uint64_t received;
    /// Counts of requests.
    uint64_t issued;
    uint64_t answered;
    /// The start time of each request in flight, by its number modulo the pipeline's depth.
    uint64_t *starts;
    /// State of a datagram socket, instead of the positions and starts above.
    struct datagrams *datagrams;
};

/// Sends due bytes; those that the socket does not accept stay due. Returns false with errno if the
/// connection is lost.
bool connection_send(struct connection *connection);

/// Reads once and checks the bytes. Returns their number, 0 at the stream's end, -1 with errno.
ssize_t connection_receive(struct connection *connection);

#endif
