#define _GNU_SOURCE
#include "connection.h"

#include <errno.h>
#include <sys/socket.h>

#include "pattern.h"
#include "support.h"

static unsigned char scratch[PATTERN_CHUNK];

bool connection_send(struct connection *connection) {
    while (connection->sent < connection->to_send) {
        uint64_t due = connection->to_send - connection->sent;
        size_t length = due < PATTERN_CHUNK ? (size_t)due : PATTERN_CHUNK;
        const unsigned char *bytes = pattern_at(connection->index, connection->sent);
        ssize_t count = send(connection->fd, bytes, length, MSG_NOSIGNAL);
        if (count < 0) {
            if (errno == EINTR) { continue; }
            return errno == EAGAIN;
        }
        connection->sent += (uint64_t)count;
    }
    return true;
}

ssize_t connection_receive(struct connection *connection) {
    ssize_t count = recv(connection->fd, scratch, sizeof scratch, 0);
    if (count <= 0) { return count; }
    if ((uint64_t)count > connection->sent - connection->received) {
        fail(EXIT_FAILED, "mismatch on connection %u: more came back than the %llu bytes sent",
             connection->index, (unsigned long long)connection->sent);
    }
    pattern_check(connection->index, connection->received, scratch, (size_t)count);
    connection->received += (uint64_t)count;
    return count;
}
