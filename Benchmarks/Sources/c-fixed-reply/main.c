// The floor of a request's cost: a server that answers each request with the same bytes and parses
// none. A server that parses, looks up and writes cannot be cheaper on the same interface.
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "serving.h"

enum { BUFFER = 64 * 1024, MOST_EVENTS = 256 };

struct connection {
    int fd;
    /// The length of every request on this connection; 0 until the first has come.
    size_t request;
    /// Received bytes of a request that is not complete yet.
    size_t partial;
    /// Bytes of replies that the socket has not accepted. Nothing is received meanwhile.
    size_t owed;
    /// The position of the next byte within a reply.
    size_t phase;
};

static unsigned char buffer[BUFFER];
/// The reply, as often as it fits, so that BUFFER bytes follow every position in the first one.
static unsigned char replies[2 * BUFFER];
static size_t reply;

static void accept_all(int epoll, int listener) {
    int fd;
    while ((fd = accept_next(listener)) >= 0) {
        struct connection *connection = calloc(1, sizeof *connection);
        if (connection == NULL) { fail("calloc"); }
        connection->fd = fd;
        watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, connection);
    }
}

/// Returns the shortest length of which the received bytes are a repetition. A client repeats one
/// request, and its pipelined requests arrive together, so that is the request's length.
static size_t length_of_request(size_t count) {
    size_t length = 1;
    while (count % length != 0 || memcmp(buffer, buffer + length, count - length) != 0) {
        length += 1;
    }
    return length;
}

/// Returns false if the connection is lost.
static bool send_owed(struct connection *connection) {
    while (connection->owed > 0) {
        size_t length = connection->owed < BUFFER ? connection->owed : BUFFER;
        ssize_t sent = send(connection->fd, replies + connection->phase, length, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EINTR) { continue; }
            return errno == EAGAIN;
        }
        connection->owed -= (size_t)sent;
        connection->phase = (connection->phase + (size_t)sent) % reply;
    }
    return true;
}

/// Returns false if the connection is over.
static bool answer(int epoll, struct connection *connection) {
    ssize_t count = recv(connection->fd, buffer, sizeof buffer, 0);
    if (count < 0) { return errno == EAGAIN || errno == EINTR; }
    if (count == 0) { return false; }
    if (connection->request == 0) { connection->request = length_of_request((size_t)count); }
    size_t received = connection->partial + (size_t)count;
    connection->owed = received / connection->request * reply;
    connection->partial = received % connection->request;
    if (!send_owed(connection)) { return false; }
    if (connection->owed > 0) {
        watch(epoll, EPOLL_CTL_MOD, connection->fd, EPOLLOUT, connection);
    }
    return true;
}

/// Returns false if the connection is over.
static bool send_rest(int epoll, struct connection *connection) {
    if (!send_owed(connection)) { return false; }
    if (connection->owed == 0) {
        watch(epoll, EPOLL_CTL_MOD, connection->fd, EPOLLIN, connection);
    }
    return true;
}

static void serve(int epoll, int listener) {
    static char accepting, ending;
    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, &accepting);
    watch(epoll, EPOLL_CTL_ADD, termination(), EPOLLIN, &ending);
    announce(listener);
    struct epoll_event events[MOST_EVENTS];
    for (;;) {
        int count = epoll_wait(epoll, events, MOST_EVENTS, -1);
        if (count < 0 && errno != EINTR) { fail("epoll_wait"); }
        for (int index = 0; index < count; index += 1) {
            void *tag = events[index].data.ptr;
            if (tag == &ending) { return; }
            if (tag == &accepting) {
                accept_all(epoll, listener);
                continue;
            }
            struct connection *connection = tag;
            bool open = connection->owed > 0 ? send_rest(epoll, connection)
                                             : answer(epoll, connection);
            if (!open) {
                close(connection->fd);
                free(connection);
            }
        }
    }
}

int main(int count, char **arguments) {
    reply = count == 3 ? strlen(arguments[2]) : 0;
    if (reply == 0 || reply > BUFFER / 2) {
        fprintf(stderr, "usage: %s PORT REPLY\n", program_invocation_short_name);
        return 2;
    }
    for (size_t end = 0; end + reply <= sizeof replies; end += reply) {
        memcpy(replies + end, arguments[2], reply);
    }
    int listener = listener_from(2, arguments);
    raise_descriptor_limit();
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) { fail("epoll_create1"); }
    serve(epoll, listener);
    return 0;
}
