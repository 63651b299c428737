// The baselines for datagrams: one call receives all that are available, and another sends them
// back. They wait in epoll, in a ring that also receives, or in the receiving call itself. A server
// with other sockets or timers cannot wait in the receiving call.
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "batch.h"
#include "serving.h"
#include "uring.h"

static volatile sig_atomic_t ending;

static void end(int number) {
    (void)number;
    ending = 1;
}

static int open_socket(uint16_t port) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) { fail("socket"); }
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
    };
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) { fail("bind"); }
    return fd;
}

static void serve_blocking(int fd) {
    // Without SA_RESTART, so that a signal ends the wait for datagrams.
    struct sigaction action = {.sa_handler = end};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    open_batch();
    announce(fd);
    while (!ending) { echo_batch(fd, MSG_WAITFORONE); }
}

static void serve_with_epoll(int fd) {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) { fail("epoll_create1"); }
    static char terminating;
    watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, NULL);
    watch(epoll, EPOLL_CTL_ADD, termination(), EPOLLIN, &terminating);
    open_batch();
    announce(fd);
    struct epoll_event events[2];
    for (;;) {
        int count = epoll_wait(epoll, events, 2, -1);
        if (count < 0 && errno != EINTR) { fail("epoll_wait"); }
        for (int index = 0; index < count; index += 1) {
            if (events[index].data.ptr == &terminating) { return; }
            echo_batch(fd, MSG_DONTWAIT);
        }
    }
}

int main(int count, char **arguments) {
    static const struct {
        const char *name;
        void (*serve)(int fd);
    } ways[] = {{"block", serve_blocking}, {"epoll", serve_with_epoll},
                {"io_uring", serve_with_ring}};
    const char *name = count == 3 ? arguments[2] : ways[0].name;
    for (size_t index = 0; index < sizeof ways / sizeof *ways; index += 1) {
        if (count < 2 || count > 3 || strcmp(name, ways[index].name) != 0) { continue; }
        ways[index].serve(open_socket(port_from(2, arguments)));
        return 0;
    }
    fprintf(stderr, "usage: %s PORT [block | epoll | io_uring]\n", program_invocation_short_name);
    return 2;
}
