// Linux calls that Swift's Glibc module does not export: epoll, eventfd, accept4, affinity and
// errno names.
//
// This header has no _GNU_SOURCE, which changes the Glibc module itself in debug builds. Code that
// needs it is in CLinux.c.
#ifndef MILLRACE_CLINUX_H
#define MILLRACE_CLINUX_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

// A declaration belongs to the first module that includes its header. Each shim therefore has its
// own copies of the constants that Swift needs. An anonymous enum imports as Int.
enum {
    MR_EPOLLIN = 0x001,
    MR_EPOLLOUT = 0x004,
    MR_EPOLLERR = 0x008,
    MR_EPOLLHUP = 0x010,
    MR_MSG_NOSIGNAL = 0x4000,
    MR_MSG_DONTWAIT = 0x40,
    MR_SOCK_STREAM = 1,
    MR_SOCK_DGRAM = 2,
    MR_SOCK_NONBLOCK = 04000,
    MR_SOCK_CLOEXEC = 02000000,
    MR_O_PATH = 010000000,
    MR_IPPROTO_TCP = 6,
    MR_IPPROTO_UDP = 17,
    MR_IPPROTO_IPV6 = 41,
    MR_UDP_SEGMENT = 103,
    MR_UDP_GRO = 104,
    MR_TCP_NODELAY = 1,
    MR_TCP_KEEPIDLE = 4,
    MR_TCP_KEEPINTVL = 5,
    MR_TCP_KEEPCNT = 6,
    MR_TCP_QUICKACK = 12,
    MR_TCP_USER_TIMEOUT = 18,
    MR_TCP_DEFER_ACCEPT = 9,
    MR_SO_INCOMING_CPU = 49,
    MR_SO_ACCEPTCONN = 30,
    MR_SO_TYPE = 3,
    MR_IPV6_V6ONLY = 26,
    MR_IPPROTO_IP = 0,
    MR_IP_RECVERR = 11,
    MR_IP_MULTICAST_ALL = 49,
    MR_IPV6_RECVERR = 25,
    MR_IPV6_MULTICAST_ALL = 29,
    MR_SHUT_WR = 1,
    MR_EFD_FLAGS = 02000000 | 04000,
};

// Accessors for epoll_event, which is packed and has a union: a driver needs only these two words.
static inline __attribute__((always_inline)) void mr_epoll_event_set(
    struct epoll_event *event, uint32_t events, uint64_t data) {
    event->events = events;
    event->data.u64 = data;
}
static inline __attribute__((always_inline)) uint64_t mr_epoll_event_data(
    const struct epoll_event *event) {
    return event->data.u64;
}
static inline __attribute__((always_inline)) uint32_t mr_epoll_event_events(
    const struct epoll_event *event) {
    return event->events;
}

// recv(2) without flags and send(2) with MSG_NOSIGNAL, as direct system calls. libc's own functions
// are cancellation points, which costs 60 instructions each in a process with more than one thread.
// Returns the count, or the negated errno.
static inline __attribute__((always_inline)) long mr_call6(
    long number, long a, long b, long c, long d, long e, long f) {
#if defined(__x86_64__)
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory", "cc");
    return x0;
#else
    long result = syscall(number, a, b, c, d, e, f);
    return result < 0 ? -errno : result;
#endif
}
static inline __attribute__((always_inline)) long mr_recv(
    int descriptor, void *memory, long size) {
    return mr_call6(SYS_recvfrom, descriptor, (long)memory, size, 0, 0, 0);
}
static inline __attribute__((always_inline)) long mr_send(
    int descriptor, const void *bytes, long count) {
    return mr_call6(SYS_sendto, descriptor, (long)bytes, count, MR_MSG_NOSIGNAL, 0, 0);
}

// Returns and clears the error that waits on a socket (SO_ERROR), or 0.
int mr_take_error(int descriptor);
// Returns whether both directions of a socket are closed (POLLHUP).
int mr_has_hung_up(int descriptor);
// Returns the bytes sent that the peer's host has not acknowledged, or that a Unix peer has not
// read (SIOCOUTQ).
int mr_send_queue(int descriptor);
// Returns whether bytes, or datagrams, wait to be received (FIONREAD). Leaves the socket's error to
// the receive that is to report it; a receive with MSG_PEEK would take it.
int mr_has_unread(int descriptor);
// Calls accept4(2) with SOCK_NONBLOCK | SOCK_CLOEXEC. Returns the new descriptor, or -1 with errno.
// Stores the peer's name, which is known even if the peer has reset the connection already.
int mr_accept_from(int listener, struct sockaddr_storage *peer, uint32_t *length);
// Returns "EADDRINUSE" for 98, and so on; NULL for a number that this libc does not know.
const char *mr_errno_name(int number);
// A received datagram without its bytes.
struct mr_datagram {
    uint32_t length;
    uint32_t sender_length;
    int32_t is_truncated;
    // The size of each of several datagrams, the last perhaps shorter (UDP_GRO); 0 for a single
    // one.
    int32_t segment_size;
    // The sender's name, and after it the bytes that mr_read_controls appends; `sender_length`
    // counts both.
    struct sockaddr_storage sender;
};
enum {
    // The bytes for one datagram's control messages: those requested here, and before them those
    // that the maker of an inherited socket may have requested.
    MR_CONTROL_ROOM = 256,
    // The size of a struct in6_pktinfo.
    MR_ASKED_SIZE = 20,
};
// Reads a datagram's control messages. Returns the size of its parts if it is several datagrams in
// one piece (UDP_GRO), or 0. On a socket that requests it, the local address that received the
// datagram is appended to the sender's name. Addresses that cannot be a reply's source are left
// out. The form is a struct in6_pktinfo: IPv4 is mapped, and only a link-local address has its
// interface.
int mr_read_controls(const void *controls, size_t length, void *name, uint32_t *name_length);
// Room for datagrams that one call receives, in the kernel's form. It is prepared once, since that
// costs more than to receive a few.
struct mr_batch;
// Returns the size of a batch in bytes.
size_t mr_batch_size(void);
// Prepares a batch of `count` datagrams, at most 64. Datagram i has its bytes at `memory + i *
// size`, and the rest of its description in `messages[i]`.
void mr_batch_prepare(
    struct mr_batch *batch, struct mr_datagram *messages, int count, void *memory, uint32_t size);
// Receives without waiting. Returns the number of datagrams, or -1 with errno.
int mr_batch_receive(struct mr_batch *batch, int descriptor);
// One datagram to send: `name_length` counts the receiver's name and a source after it.
struct mr_outgoing {
    const void *bytes;
    const void *name;
    uint32_t length;
    uint32_t name_length;
};
// Sends up to `count` (at most 64) datagrams without waiting. Returns the number sent, or -1 with
// the errno of the first.
int mr_send_datagrams(int descriptor, const struct mr_outgoing *messages, int count);
// Like mr_send_datagrams, but each leaves from the source that follows its receiver's name
// (mr_read_controls), if any. With `bundling`, neighbours of one size, receiver and source form one
// message, which the kernel cuts (UDP_SEGMENT). *bundles is the number of such messages that were
// sent, or on an error the number of datagrams in the refused message.
int mr_send_described(
    int descriptor, const struct mr_outgoing *messages, int count, bool bundling, int *bundles);
// The processors that a thread may run on; not known if there are more than it has room for.
struct mr_affinity {
    unsigned long bits[16];
    bool is_known;
};
void mr_get_affinity(struct mr_affinity *affinity);
void mr_set_affinity(const struct mr_affinity *affinity);
// Pins the calling thread to the processor with this number. Returns 0 or an errno.
int mr_pin_thread(int processor);
// Returns the number of processors that the calling thread may use.
int mr_cpu_count(void);
// Returns the number of one of those processors by its place among them, from 0 on. The place after
// the last one is the first one again.
int mr_processor(int place);
// Returns the first `needle` in `haystack`, or NULL.
const void *mr_memmem(
    const void *haystack, unsigned long size, const void *needle, unsigned long needle_size);
// Names the calling thread in ps, top and debuggers. The name is cut to 15 bytes.
void mr_name_thread(const char *name);

// Counts every arrival of a signal, on any thread, in an eventfd until mr_signal_unwatch. The last
// of these restores the signal's earlier action. Returns the slot, or -1 when all are in use.
int mr_signal_watch(int signal);
int mr_signal_descriptor(int slot);
void mr_signal_unwatch(int slot);
// Sets the calling thread's one pointer: the loop that it runs.
void mr_thread_set(void *pointer);
// Marks the calling thread as a loop's thread for its lifetime.
void mr_thread_mark_loop(void);
bool mr_thread_is_loop(void);
void *mr_thread_get(void);

#endif
