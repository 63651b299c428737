#define _GNU_SOURCE
#include "CLinux.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

int mr_take_error(int descriptor) {
    int number = 0;
    socklen_t size = sizeof(number);
    return getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &number, &size) == 0 ? number : errno;
}

int mr_has_hung_up(int descriptor) {
    struct pollfd watched = {.fd = descriptor};
    return poll(&watched, 1, 0) > 0 && (watched.revents & POLLHUP) != 0;
}

int mr_unacknowledged(int descriptor) {
    int count = 0;
    return ioctl(descriptor, SIOCOUTQ, &count) == 0 ? count : 0;
}

int mr_accept(int listener) {
    struct sockaddr_storage peer;
    uint32_t length;
    return mr_accept_from(listener, &peer, &length);
}

int mr_accept_from(int listener, struct sockaddr_storage *peer, uint32_t *length) {
    socklen_t size = sizeof(*peer);
    int accepted = accept4(listener, (struct sockaddr *)peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted >= 0) *length = size;
    return accepted;
}

const char *mr_errno_name(int number) { return strerrorname_np(number); }

enum { MOST_DATAGRAMS = 64 };

// Room for the one control message that is asked for, aligned as such.
union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

static int32_t segment_size(struct msghdr *header) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        int size = 0;
        if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_GRO) continue;
        memcpy(&size, CMSG_DATA(c), sizeof(size));
        return size;
    }
    return 0;
}

struct mr_batch {
    struct mr_datagram *messages;
    unsigned count;
    struct mmsghdr headers[MOST_DATAGRAMS];
    struct iovec pieces[MOST_DATAGRAMS];
    union control controls[MOST_DATAGRAMS];
};

size_t mr_batch_size(void) { return sizeof(struct mr_batch); }

// What the kernel writes into a header when it receives into it.
static void make_room(struct msghdr *header) {
    header->msg_namelen = sizeof(struct sockaddr_storage);
    header->msg_controllen = sizeof(union control);
}

void mr_batch_prepare(
    struct mr_batch *batch, struct mr_datagram *messages, int count, void *memory, uint32_t size) {
    batch->messages = messages;
    batch->count = count > MOST_DATAGRAMS ? MOST_DATAGRAMS : (unsigned)count;
    for (unsigned i = 0; i < batch->count; i++) {
        batch->pieces[i] = (struct iovec){(char *)memory + (size_t)i * size, size};
        batch->headers[i].msg_hdr = (struct msghdr){
            .msg_name = &messages[i].sender,
            .msg_iov = &batch->pieces[i],
            .msg_iovlen = 1,
            .msg_control = &batch->controls[i]};
        make_room(&batch->headers[i].msg_hdr);
    }
}

int mr_batch_receive(struct mr_batch *batch, int descriptor) {
    int received = recvmmsg(descriptor, batch->headers, batch->count, MSG_DONTWAIT, NULL);
    for (int i = 0; i < received; i++) {
        struct mr_datagram *message = &batch->messages[i];
        struct msghdr *header = &batch->headers[i].msg_hdr;
        message->length = batch->headers[i].msg_len;
        message->sender_length = header->msg_namelen;
        message->is_truncated = (header->msg_flags & MSG_TRUNC) != 0;
        message->segment_size = segment_size(header);
        make_room(header);
    }
    return received;
}

int mr_send_datagrams(int descriptor, const struct mr_outgoing *messages, int count) {
    struct mmsghdr headers[MOST_DATAGRAMS];
    struct iovec pieces[MOST_DATAGRAMS];
    if (count > MOST_DATAGRAMS) count = MOST_DATAGRAMS;
    for (int i = 0; i < count; i++) {
        pieces[i] = (struct iovec){(void *)messages[i].bytes, messages[i].length};
        headers[i].msg_hdr = (struct msghdr){
            .msg_name = (void *)messages[i].name,
            .msg_namelen = messages[i].name_length,
            .msg_iov = &pieces[i],
            .msg_iovlen = 1};
    }
    return sendmmsg(descriptor, headers, (unsigned)count, MSG_DONTWAIT | MSG_NOSIGNAL);
}

// How many from the first on may be one message: all of its size but for a last, shorter one, and
// together no more than a datagram of IPv4 holds, which the kernel checks before it cuts.
static int bundle_size(const struct mr_outgoing *first, int count) {
    enum { MOST_BYTES = 65507 };
    uint32_t size = first->length, total = size;
    int taken = 1;
    while (taken < count && size > 0 && first[taken - 1].length == size) {
        const struct mr_outgoing *next = &first[taken];
        if (next->length == 0 || next->length > size || total + next->length > MOST_BYTES ||
            next->name_length != first->name_length ||
            memcmp(next->name, first->name, first->name_length) != 0)
            break;
        total += next->length;
        taken++;
    }
    return taken;
}

int mr_send_bundled(
    int descriptor, const struct mr_outgoing *messages, int count, int *bundles) {
    struct mmsghdr headers[MOST_DATAGRAMS];
    struct iovec pieces[MOST_DATAGRAMS];
    union control controls[MOST_DATAGRAMS];
    int sizes[MOST_DATAGRAMS], made = 0;
    if (count > MOST_DATAGRAMS) count = MOST_DATAGRAMS;
    for (int i = 0; i < count; i++)
        pieces[i] = (struct iovec){(void *)messages[i].bytes, messages[i].length};
    for (int i = 0; i < count; i += sizes[made++]) {
        sizes[made] = bundle_size(&messages[i], count - i);
        struct msghdr *header = &headers[made].msg_hdr;
        *header = (struct msghdr){
            .msg_name = (void *)messages[i].name,
            .msg_namelen = messages[i].name_length,
            .msg_iov = &pieces[i],
            .msg_iovlen = (size_t)sizes[made]};
        if (sizes[made] == 1) continue;
        uint16_t segment = (uint16_t)messages[i].length;
        header->msg_control = &controls[made];
        header->msg_controllen = CMSG_SPACE(sizeof(segment));
        struct cmsghdr *control = CMSG_FIRSTHDR(header);
        *control = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof(segment)),
            .cmsg_level = IPPROTO_UDP,
            .cmsg_type = UDP_SEGMENT};
        memcpy(CMSG_DATA(control), &segment, sizeof(segment));
    }
    int sent = sendmmsg(descriptor, headers, (unsigned)made, MSG_DONTWAIT | MSG_NOSIGNAL);
    *bundles = sent < 0 ? sizes[0] : 0;
    if (sent < 0) return -1;
    int datagrams = 0;
    for (int i = 0; i < sent; i++) {
        datagrams += sizes[i];
        if (sizes[i] > 1) *bundles += 1;
    }
    return datagrams;
}

int mr_pin_thread(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

int mr_cpu_count(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? count : 1;
}

void mr_name_thread(const char *name) {
    // A longer one would be refused whole. A UTF-8 sequence is cut before its first byte.
    char cut[16] = {0};
    size_t size = strnlen(name, sizeof(cut) - 1);
    while (size > 0 && (name[size] & 0xC0) == 0x80) size--;
    memcpy(cut, name, size);
    (void)pthread_setname_np(pthread_self(), cut);
}

const void *mr_memmem(
    const void *haystack, unsigned long size, const void *needle, unsigned long needle_size) {
    return memmem(haystack, size, needle, needle_size);
}

static __thread void *thread_pointer;

static __thread bool is_loop;

void mr_thread_mark_loop(void) { is_loop = true; }

bool mr_thread_is_loop(void) { return is_loop; }

void mr_thread_set(void *pointer) { thread_pointer = pointer; }

void *mr_thread_get(void) { return thread_pointer; }
