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

int mr_send_queue(int descriptor) {
    int count = 0;
    return ioctl(descriptor, SIOCOUTQ, &count) == 0 ? count : 0;
}

int mr_has_unread(int descriptor) {
    int count = 0;
    if (ioctl(descriptor, FIONREAD, &count) == 0 && count > 0) return 1;
    int type = 0;
    socklen_t size = sizeof(type);
    // An empty datagram has no bytes to count. For a stream, poll(2) would tell of its end too.
    if (getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_DGRAM)
        return 0;
    struct pollfd watched = {.fd = descriptor, .events = POLLIN};
    return poll(&watched, 1, 0) > 0 && (watched.revents & POLLIN) != 0;
}

int mr_accept_from(int listener, struct sockaddr_storage *peer, uint32_t *length) {
    socklen_t size = sizeof(*peer);
    int accepted = accept4(listener, (struct sockaddr *)peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted >= 0) *length = size;
    return accepted;
}

const char *mr_errno_name(int number) { return strerrorname_np(number); }

enum { MOST_DATAGRAMS = 64 };

// Room for control messages, aligned for their header.
union received_control {
    struct cmsghdr header;
    char bytes[MR_CONTROL_ROOM];
};

// Checks the length too, because the kernel truncates a control message that finds no room.
static bool holds(const struct cmsghdr *c, int level, int type, size_t size) {
    return c->cmsg_level == level && c->cmsg_type == type && c->cmsg_len >= CMSG_LEN(size);
}

static struct in6_pktinfo mapped(struct in_addr address) {
    struct in6_pktinfo source = {.ipi6_addr.s6_addr = {[10] = 0xFF, [11] = 0xFF}};
    memcpy(&source.ipi6_addr.s6_addr[12], &address, sizeof(address));
    return source;
}

// A multicast or broadcast address cannot be a source. A directed broadcast is not visible here.
// The kernel replaces it in IP_PKTINFO, the IPv4 form of the message, which is requested too.
static bool is_group(const struct in6_addr *address) {
    if (!IN6_IS_ADDR_V4MAPPED(address)) return IN6_IS_ADDR_MULTICAST(address);
    return address->s6_addr[12] >= 224;
}

int mr_read_controls(const void *controls, size_t length, void *name, uint32_t *name_length) {
    struct msghdr header = {.msg_control = (void *)controls, .msg_controllen = length};
    struct in6_pktinfo asked = {0};
    bool is_v4_known = false;
    int segment_size = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c)) {
        if (holds(c, IPPROTO_UDP, UDP_GRO, sizeof(int))) {
            memcpy(&segment_size, CMSG_DATA(c), sizeof(segment_size));
        } else if (holds(c, IPPROTO_IP, IP_PKTINFO, sizeof(struct in_pktinfo))) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            asked = info.ipi_spec_dst.s_addr == 0
                ? (struct in6_pktinfo){0} : mapped(info.ipi_spec_dst);
            is_v4_known = true;
        } else if (holds(c, IPPROTO_IPV6, IPV6_PKTINFO, sizeof(asked)) && !is_v4_known) {
            memcpy(&asked, CMSG_DATA(c), sizeof(asked));
            if (is_group(&asked.ipi6_addr)) asked = (struct in6_pktinfo){0};
            // The routes choose the interface, like for any reply. Only a link-local address has no
            // meaning without it.
            if (!IN6_IS_ADDR_LINKLOCAL(&asked.ipi6_addr)) asked.ipi6_ifindex = 0;
        }
    }
    bool has_room = *name_length == sizeof(struct sockaddr_in) ||
        *name_length == sizeof(struct sockaddr_in6);
    if (has_room && !IN6_IS_ADDR_UNSPECIFIED(&asked.ipi6_addr)) {
        memcpy((char *)name + *name_length, &asked, sizeof(asked));
        *name_length += sizeof(asked);
    }
    return segment_size > 0 ? segment_size : 0;
}

struct mr_batch {
    struct mr_datagram *messages;
    unsigned count;
    struct mmsghdr headers[MOST_DATAGRAMS];
    struct iovec pieces[MOST_DATAGRAMS];
    union received_control controls[MOST_DATAGRAMS];
};

size_t mr_batch_size(void) { return sizeof(struct mr_batch); }

// Sets the fields of a header that the kernel overwrites with each receive.
static void make_room(struct msghdr *header) {
    header->msg_namelen = sizeof(struct sockaddr_storage);
    header->msg_controllen = MR_CONTROL_ROOM;
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
        message->segment_size = 0;
        // Only sockets that request control messages receive any.
        if (header->msg_controllen > 0)
            message->segment_size = mr_read_controls(
                header->msg_control, header->msg_controllen, &message->sender,
                &message->sender_length);
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

// Returns how many datagrams, from the first on, can be one message. All have the same size, except
// for a shorter last one. Together they must fit into one IPv4 datagram, which the kernel checks
// before it cuts.
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

// Room for the control messages of one message: its source and the size of its parts.
union sent_control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(uint16_t))];
};

static void add_control(
    struct msghdr *header, union sent_control *room, int level, int type, const void *value,
    size_t size) {
    struct cmsghdr *control = (struct cmsghdr *)(room->bytes + header->msg_controllen);
    *control = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(size), .cmsg_level = level, .cmsg_type = type};
    memcpy(CMSG_DATA(control), value, size);
    header->msg_control = room;
    header->msg_controllen += CMSG_SPACE(size);
}

// Makes a control message of the source that follows a name, and shortens the name.
static void add_source(
    struct msghdr *header, union sent_control *room, const struct mr_outgoing *message) {
    struct in6_pktinfo source;
    if (message->name_length <= sizeof(source)) return;
    uint32_t length = message->name_length - (uint32_t)sizeof(source);
    sa_family_t family;
    memcpy(&family, message->name, sizeof(family));
    bool is_v4 = family == AF_INET && length == sizeof(struct sockaddr_in);
    if (!is_v4 && !(family == AF_INET6 && length == sizeof(struct sockaddr_in6))) return;
    memcpy(&source, (const char *)message->name + length, sizeof(source));
    header->msg_namelen = length;
    if (is_v4) {
        // No interface: it would keep the reply from following the routes.
        struct in_pktinfo info = {0};
        memcpy(&info.ipi_spec_dst, &source.ipi6_addr.s6_addr[12], sizeof(info.ipi_spec_dst));
        add_control(header, room, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
    } else {
        add_control(header, room, IPPROTO_IPV6, IPV6_PKTINFO, &source, sizeof(source));
    }
}

int mr_send_described(
    int descriptor, const struct mr_outgoing *messages, int count, bool bundling, int *bundles) {
    struct mmsghdr headers[MOST_DATAGRAMS];
    struct iovec pieces[MOST_DATAGRAMS];
    union sent_control controls[MOST_DATAGRAMS];
    int sizes[MOST_DATAGRAMS], made = 0;
    if (count > MOST_DATAGRAMS) count = MOST_DATAGRAMS;
    for (int i = 0; i < count; i++)
        pieces[i] = (struct iovec){(void *)messages[i].bytes, messages[i].length};
    for (int i = 0; i < count; i += sizes[made++]) {
        sizes[made] = bundling ? bundle_size(&messages[i], count - i) : 1;
        struct msghdr *header = &headers[made].msg_hdr;
        *header = (struct msghdr){
            .msg_name = (void *)messages[i].name,
            .msg_namelen = messages[i].name_length,
            .msg_iov = &pieces[i],
            .msg_iovlen = (size_t)sizes[made]};
        add_source(header, &controls[made], &messages[i]);
        if (sizes[made] == 1) continue;
        uint16_t segment = (uint16_t)messages[i].length;
        add_control(
            header, &controls[made], IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment));
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

// Returns the processors that the calling thread may use, and the size of that set; NULL if they
// cannot be determined. The caller frees the set. The kernel refuses a set that is too small for
// the machine's processors.
static cpu_set_t *allowed_processors(size_t *size) {
    for (int room = CPU_SETSIZE; room <= CPU_SETSIZE << 8; room *= 2) {
        cpu_set_t *set = CPU_ALLOC(room);
        if (!set) return NULL;
        *size = CPU_ALLOC_SIZE(room);
        CPU_ZERO_S(*size, set);
        if (sched_getaffinity(0, *size, set) == 0) return set;
        CPU_FREE(set);
        if (errno != EINVAL) return NULL;
    }
    return NULL;
}

void mr_get_affinity(struct mr_affinity *affinity) {
    memset(affinity, 0, sizeof(*affinity));
    affinity->is_known =
        sched_getaffinity(0, sizeof(affinity->bits), (cpu_set_t *)affinity->bits) == 0;
}

void mr_set_affinity(const struct mr_affinity *affinity) {
    if (affinity->is_known)
        (void)sched_setaffinity(0, sizeof(affinity->bits), (const cpu_set_t *)affinity->bits);
}

int mr_pin_thread(int processor) {
    cpu_set_t *set = CPU_ALLOC(processor + 1);
    if (!set) return ENOMEM;
    size_t size = CPU_ALLOC_SIZE(processor + 1);
    CPU_ZERO_S(size, set);
    CPU_SET_S(processor, size, set);
    int result = pthread_setaffinity_np(pthread_self(), size, set);
    CPU_FREE(set);
    return result;
}

int mr_cpu_count(void) {
    size_t size = 0;
    cpu_set_t *set = allowed_processors(&size);
    int count = set ? CPU_COUNT_S(size, set) : 0;
    if (set) CPU_FREE(set);
    return count > 0 ? count : 1;
}

int mr_processor(int place) {
    size_t size = 0;
    cpu_set_t *set = allowed_processors(&size);
    int count = set ? CPU_COUNT_S(size, set) : 0, processor = 0;
    if (count > 0) {
        int left = place % count;
        while (!CPU_ISSET_S(processor, size, set) || left-- > 0) processor++;
    }
    if (set) CPU_FREE(set);
    return processor;
}

void mr_name_thread(const char *name) {
    // The call refuses a longer name. A UTF-8 sequence is cut before its first byte.
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
