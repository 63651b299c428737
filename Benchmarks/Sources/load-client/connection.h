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
    /// Requests.
    uint64_t issued;
    uint64_t answered;
    /// When each request in flight was issued, by its number modulo the pipeline's depth.
    uint64_t *starts;
    /// Instead of the positions and starts above, for datagrams.
    struct datagrams *datagrams;
};

/// False with errno if the connection is lost; what the socket does not take now stays due.
bool connection_send(struct connection *connection);

/// Reads once and checks what came. How many bytes, 0 at the end of the stream, -1 with errno.
ssize_t connection_receive(struct connection *connection);

#endif
