#define _GNU_SOURCE
#include "connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "support.h"

// A prime, so that the pattern lines up with no buffer size. The pattern is stored past its period:
// any chunk of any stream then lies in one piece, ready to be sent from and compared with.
enum { PERIOD = 65521, CHUNK = 256 * 1024, STRIDE = 977 };

static unsigned char pattern[PERIOD + CHUNK];
static unsigned char scratch[CHUNK];

void pattern_prepare(void) {
    uint32_t state = 0x9e3779b9;
    for (size_t index = 0; index < sizeof pattern; index += 1) {
        if (index >= PERIOD) {
            pattern[index] = pattern[index - PERIOD];
            continue;
        }
        state = state * 1664525u + 1013904223u;
        pattern[index] = (unsigned char)(state >> 24);
    }
}

static const unsigned char *pattern_at(const struct connection *connection, uint64_t position) {
    return pattern + (position + (uint64_t)connection->index * STRIDE) % PERIOD;
}

void connection_open(struct connection *connection, unsigned index, const struct options *options) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) { fail(EXIT_FAILED, "no socket for connection %u: %s", index, strerror(errno)); }
    // The one timeout that connect(2) obeys.
    struct timeval patience = {
        .tv_sec = (time_t)options->timeout,
        .tv_usec = (suseconds_t)((options->timeout - (double)(time_t)options->timeout) * 1e6),
    };
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);

    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(options->port),
        .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
    };
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        fail(EXIT_FAILED, "connection %u to port %u: %s", index, options->port,
             errno == EINPROGRESS ? "timed out" : strerror(errno));
    }
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0) { fail(EXIT_FAILED, "fcntl: %s", strerror(errno)); }
    connection->fd = fd;
    connection->index = index;
    connection->starts = allocate(options->pipeline, sizeof *connection->starts);
}

bool connection_send(struct connection *connection) {
    while (connection->sent < connection->to_send) {
        uint64_t due = connection->to_send - connection->sent;
        size_t length = due < CHUNK ? (size_t)due : CHUNK;
        const unsigned char *bytes = pattern_at(connection, connection->sent);
        ssize_t count = send(connection->fd, bytes, length, MSG_NOSIGNAL);
        if (count < 0) {
            if (errno == EINTR) { continue; }
            if (errno == EAGAIN) { return false; }
            fail(EXIT_FAILED, "connection %u lost after %llu answers: %s", connection->index,
                 (unsigned long long)connection->answered, strerror(errno));
        }
        connection->sent += (uint64_t)count;
    }
    return true;
}

static void check(const struct connection *connection, size_t length) {
    if (length > connection->sent - connection->received) {
        fail(EXIT_FAILED, "mismatch on connection %u: more came back than the %llu bytes sent",
             connection->index, (unsigned long long)connection->sent);
    }
    const unsigned char *expected = pattern_at(connection, connection->received);
    if (memcmp(scratch, expected, length) == 0) { return; }
    size_t at = 0;
    while (scratch[at] == expected[at]) { at += 1; }
    fail(EXIT_FAILED, "mismatch on connection %u at byte %llu: sent 0x%02x, got 0x%02x",
         connection->index, (unsigned long long)(connection->received + at), expected[at],
         scratch[at]);
}

bool connection_receive(struct connection *connection) {
    ssize_t count = recv(connection->fd, scratch, sizeof scratch, 0);
    if (count < 0) {
        if (errno == EAGAIN || errno == EINTR) { return false; }
        fail(EXIT_FAILED, "connection %u lost after %llu answers: %s", connection->index,
             (unsigned long long)connection->answered, strerror(errno));
    }
    if (count == 0) {
        fail(EXIT_FAILED, "connection %u lost after %llu answers: closed by the server",
             connection->index, (unsigned long long)connection->answered);
    }
    check(connection, (size_t)count);
    connection->received += (uint64_t)count;
    return true;
}
