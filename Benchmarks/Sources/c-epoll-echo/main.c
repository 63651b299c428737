// The baseline the library is measured against: what one would write by hand for one thread, with
// nothing left out that a correct echo server needs.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 64 * 1024, BACKLOG = 4096, MOST_EVENTS = 256 };

struct connection {
    int fd;
    /// What the socket would not take yet. Nothing is read meanwhile: a client that does not read
    /// its answers must not fill our memory.
    unsigned char *unsent;
    size_t unsent_start;
    size_t unsent_end;
};

static unsigned char buffer[BUFFER];

static _Noreturn void fail(const char *what) {
    fprintf(stderr, "c-epoll-echo: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(int epoll, int operation, int fd, uint32_t events, void *tag) {
    struct epoll_event event = {.events = events, .data = {.ptr = tag}};
    if (epoll_ctl(epoll, operation, fd, &event) != 0) { fail("epoll_ctl"); }
}

static int listen_on(uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) { fail("socket"); }
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
    };
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) { fail("bind"); }
    if (listen(fd, BACKLOG) != 0) { fail("listen"); }
    return fd;
}

static void announce(int listener) {
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    if (getsockname(listener, (struct sockaddr *)&address, &length) != 0) { fail("getsockname"); }
    printf("listening on tcp://127.0.0.1:%u\n", ntohs(address.sin_port));
    if (fflush(stdout) != 0) { fail("stdout"); }
}

static void accept_all(int epoll, int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN) { return; }
            if (errno == EINTR || errno == ECONNABORTED) { continue; }
            fail("accept4");
        }
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
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

/// How much the socket took, or -1 if the connection is lost.
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

/// False if the connection is over.
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

/// False if the connection is over.
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

static void watch_for_termination(int epoll, void *tag) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) { fail("sigprocmask"); }
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0) { fail("signalfd"); }
    watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, tag);
}

static void serve(int epoll, int listener) {
    static char accepting, ending;
    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, &accepting);
    watch_for_termination(epoll, &ending);
    // Last, because whoever reads the line may end us at once.
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

static uint16_t port_from(int count, char **arguments) {
    char *end = NULL;
    long port = count == 2 ? strtol(arguments[1], &end, 10) : -1;
    if (end == NULL || end == arguments[1] || *end != '\0' || port < 0 || port > 65535) {
        fputs("usage: c-epoll-echo PORT\n", stderr);
        exit(2);
    }
    return (uint16_t)port;
}

int main(int count, char **arguments) {
    uint16_t port = port_from(count, arguments);
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) { fail("epoll_create1"); }
    serve(epoll, listen_on(port));
    return 0;
}
