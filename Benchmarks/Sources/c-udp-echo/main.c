// The baseline for datagrams: as many as there are in one call, and back in another.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

#include "serving.h"

enum { BATCH = 64, LONGEST = 65536 };

static unsigned char bytes[BATCH][LONGEST];
static struct sockaddr_in senders[BATCH];
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
    socklen_t length = sizeof address;
    if (bind(fd, (struct sockaddr *)&address, length) != 0) { fail("bind"); }
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0) { fail("getsockname"); }
    printf("listening on udp://127.0.0.1:%u\n", ntohs(address.sin_port));
    if (fflush(stdout) != 0) { fail("stdout"); }
    return fd;
}

static void serve(int fd) {
    static struct iovec pieces[BATCH];
    static struct mmsghdr messages[BATCH];
    while (!ending) {
        for (int index = 0; index < BATCH; index += 1) {
            pieces[index] = (struct iovec){.iov_base = bytes[index], .iov_len = LONGEST};
            messages[index].msg_hdr = (struct msghdr){
                .msg_name = &senders[index],
                .msg_namelen = sizeof senders[index],
                .msg_iov = &pieces[index],
                .msg_iovlen = 1,
            };
        }
        int count = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
        if (count < 0 && errno != EINTR) { fail("recvmmsg"); }
        for (int index = 0; index < count; index += 1) {
            pieces[index].iov_len = messages[index].msg_len;
        }
        // What the other side has no room for is lost, as datagrams are.
        for (int sent = 0; sent < count;) {
            int done = sendmmsg(fd, messages + sent, (unsigned)(count - sent), 0);
            sent += done > 0 ? done : 1;
        }
    }
}

int main(int count, char **arguments) {
    uint16_t port = port_from(count, arguments);
    // Without SA_RESTART, so that the wait for datagrams ends.
    struct sigaction action = {.sa_handler = end};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    serve(open_socket(port));
    return 0;
}
