// The baseline that the library is measured against: a server as written by hand for one thread,
// complete enough to be a correct echo server.
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "serving.h"

enum { BUFFER = 64 * 1024, MOST_EVENTS = 256 };

struct connection {
    int fd;
    /// Bytes that the socket has not accepted yet. Nothing is read meanwhile: a client that does
    /// not read its answers must not fill our memory.
    unsigned char *unsent;
    size_t unsent_start;
    size_t unsent_end;
};

static unsigned char buffer[BUFFER];

static void accept_all(int epoll, int listener) {
    int fd;
    while ((fd = accept_next(listener)) >= 0) {
        struct connection *connection = calloc(1, sizeof *connection);
        if (connection == NULL) { fail("calloc"); }
        connection->fd = fd;
        watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, connection);
    }
}

static void drop(struct connection *connection) {
    close(connection->fd);
    free(connection->unsent);
    free(connection);
}

/// Returns the number of bytes that the socket accepted, or -1 if the connection is lost.
static ssize_t send_some(int fd, const unsigned char *bytes, size_t length) {
    size_t sent = 0;
    while (sent < length) {
        ssize_t count = send(fd, bytes + sent, length - sent, MSG_NOSIGNAL);
        if (count < 0) {
            if (errno == EINTR) { continue; }
            return errno == EAGAIN ? (ssize_t)sent : -1;
        }
        sent += (size_t)count;
    }
    return (ssize_t)sent;
}

/// Returns false if the connection is over.
static bool echo(int epoll, struct connection *connection) {
    ssize_t count = recv(connection->fd, buffer, sizeof buffer, 0);
    if (count < 0) { return errno == EAGAIN || errno == EINTR; }
    if (count == 0) { return false; }
    ssize_t sent = send_some(connection->fd, buffer, (size_t)count);
    if (sent == count) { return true; }
    if (sent < 0) { return false; }
    size_t left = (size_t)(count - sent);
    connection->unsent = malloc(left);
    if (connection->unsent == NULL) { fail("malloc"); }
    memcpy(connection->unsent, buffer + sent, left);
    connection->unsent_start = 0;
    connection->unsent_end = left;
    watch(epoll, EPOLL_CTL_MOD, connection->fd, EPOLLOUT, connection);
    return true;
}

/// Returns false if the connection is over.
static bool send_rest(int epoll, struct connection *connection) {
    ssize_t sent = send_some(connection->fd, connection->unsent + connection->unsent_start,
                             connection->unsent_end - connection->unsent_start);
    if (sent < 0) { return false; }
    connection->unsent_start += (size_t)sent;
    if (connection->unsent_start < connection->unsent_end) { return true; }
    free(connection->unsent);
    connection->unsent = NULL;
    watch(epoll, EPOLL_CTL_MOD, connection->fd, EPOLLIN, connection);
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
            bool open = connection->unsent != NULL ? send_rest(epoll, connection)
                                                   : echo(epoll, connection);
            if (!open) { drop(connection); }
        }
    }
}

int main(int count, char **arguments) {
    int listener = listener_from(count, arguments);
    raise_descriptor_limit();
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) { fail("epoll_create1"); }
    serve(epoll, listener);
    return 0;
}
