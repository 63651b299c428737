// Code that the baselines share around their loops; none of it is on the path of a request.
#define _GNU_SOURCE
#include "serving.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { BACKLOG = 4096 };

_Noreturn void fail(const char *what) {
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
    exit(1);
}

uint16_t port_from(int count, char **arguments) {
    char *end = NULL;
    long port = count == 2 ? strtol(arguments[1], &end, 10) : -1;
    if (end == NULL || end == arguments[1] || *end != '\0' || port < 0 || port > 65535) {
        fprintf(stderr, "usage: %s PORT\n", program_invocation_short_name);
        exit(2);
    }
    return (uint16_t)port;
}

void raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) { return; }
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int listen_on(uint16_t port) {
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

/// Uses an abstract name, so that a killed server leaves no file behind.
static int listen_on_name(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    if (length >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        fail(name);
    }
    memcpy(address.sun_path + 1, name, length);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) { fail("socket"); }
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
    if (bind(fd, (struct sockaddr *)&address, size) != 0) { fail("bind"); }
    if (listen(fd, BACKLOG) != 0) { fail("listen"); }
    return fd;
}

int listener_from(int count, char **arguments) {
    static const char scheme[] = "unix://@";
    bool is_name = count == 2 && strncmp(arguments[1], scheme, strlen(scheme)) == 0;
    return is_name ? listen_on_name(arguments[1] + strlen(scheme))
                   : listen_on(port_from(count, arguments));
}

int accept_next(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            int on = 1;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            return fd;
        }
        if (errno == EAGAIN) { return -1; }
        if (errno != EINTR && errno != ECONNABORTED) { fail("accept4"); }
    }
}

void watch(int epoll, int operation, int fd, uint32_t events, void *tag) {
    struct epoll_event event = {.events = events, .data = {.ptr = tag}};
    if (epoll_ctl(epoll, operation, fd, &event) != 0) { fail("epoll_ctl"); }
}

int termination(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) { fail("sigprocmask"); }
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0) { fail("signalfd"); }
    return fd;
}

void announce(int listener) {
    union {
        struct sockaddr any;
        struct sockaddr_in internet;
        struct sockaddr_un name;
    } address;
    socklen_t length = sizeof address;
    if (getsockname(listener, &address.any, &length) != 0) { fail("getsockname"); }
    if (address.any.sa_family == AF_UNIX) {
        int name = (int)(length - offsetof(struct sockaddr_un, sun_path)) - 1;
        printf("listening on unix://@%.*s\n", name, address.name.sun_path + 1);
    } else {
        int type = SOCK_STREAM;
        socklen_t size = sizeof type;
        if (getsockopt(listener, SOL_SOCKET, SO_TYPE, &type, &size) != 0) { fail("getsockopt"); }
        const char *scheme = type == SOCK_DGRAM ? "udp" : "tcp";
        printf("listening on %s://127.0.0.1:%u\n", scheme, ntohs(address.internet.sin_port));
    }
    if (fflush(stdout) != 0) { fail("stdout"); }
}
