#define _GNU_SOURCE
#include "CLinux.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sched.h>
#include <string.h>

int mr_accept(int listener) {
    return accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

const char *mr_errno_name(int number) { return strerrorname_np(number); }

enum { MOST_DATAGRAMS = 64 };

int mr_receive_datagrams(
    int descriptor, struct mr_datagram *messages, int count, void *memory, uint32_t size) {
    struct mmsghdr headers[MOST_DATAGRAMS];
    struct iovec pieces[MOST_DATAGRAMS];
    if (count > MOST_DATAGRAMS) count = MOST_DATAGRAMS;
    for (int i = 0; i < count; i++) {
        pieces[i] = (struct iovec){(char *)memory + (size_t)i * size, size};
        headers[i].msg_hdr = (struct msghdr){
            .msg_name = &messages[i].sender,
            .msg_namelen = sizeof(messages[i].sender),
            .msg_iov = &pieces[i],
            .msg_iovlen = 1};
    }
    int received = recvmmsg(descriptor, headers, (unsigned)count, MSG_DONTWAIT, NULL);
    for (int i = 0; i < received; i++) {
        messages[i].length = headers[i].msg_len;
        messages[i].sender_length = headers[i].msg_hdr.msg_namelen;
        messages[i].is_truncated = (headers[i].msg_hdr.msg_flags & MSG_TRUNC) != 0;
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

void mr_thread_set(void *pointer) { thread_pointer = pointer; }

void *mr_thread_get(void) { return thread_pointer; }
