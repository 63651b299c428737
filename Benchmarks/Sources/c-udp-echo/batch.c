#define _GNU_SOURCE
#include "batch.h"

#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>

#include "serving.h"

static unsigned char bytes[BATCH][LONGEST];
static struct sockaddr_in senders[BATCH];
static struct iovec pieces[BATCH];
static struct mmsghdr messages[BATCH];

void open_batch(void) {
    for (int index = 0; index < BATCH; index += 1) {
        pieces[index] = (struct iovec){.iov_base = bytes[index], .iov_len = LONGEST};
        messages[index].msg_hdr = (struct msghdr){
            .msg_name = &senders[index],
            .msg_namelen = sizeof senders[index],
            .msg_iov = &pieces[index],
            .msg_iovlen = 1,
        };
    }
}

void send_all(int fd, struct mmsghdr *all, int count) {
    for (int sent = 0; sent < count;) {
        int done = sendmmsg(fd, all + sent, (unsigned)(count - sent), MSG_DONTWAIT);
        sent += done > 0 ? done : 1;
    }
}

void echo_batch(int fd, int flags) {
    int count = recvmmsg(fd, messages, BATCH, flags, NULL);
    if (count < 0) {
        if (errno == EINTR || errno == EAGAIN) { return; }
        fail("recvmmsg");
    }
    for (int index = 0; index < count; index += 1) {
        pieces[index].iov_len = messages[index].msg_len;
    }
    send_all(fd, messages, count);
    for (int index = 0; index < count; index += 1) { pieces[index].iov_len = LONGEST; }
}
