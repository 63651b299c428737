#define _GNU_SOURCE
#include "target.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

void target_local_port(struct target *target, uint16_t port) {
    struct sockaddr_in *address = (struct sockaddr_in *)&target->address;
    address->sin_family = AF_INET;
    address->sin_port = htons(port);
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    target->length = sizeof *address;
}

static bool parse_internet(struct target *target, const char *text) {
    const char *colon = strrchr(text, ':');
    char host[INET_ADDRSTRLEN];
    if (colon == NULL || (size_t)(colon - text) >= sizeof host) { return false; }
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    char *end = NULL;
    long port = strtol(colon + 1, &end, 10);
    if (*end != '\0' || port < 1 || port > 65535) { return false; }
    target_local_port(target, (uint16_t)port);
    return inet_pton(AF_INET, host, &((struct sockaddr_in *)&target->address)->sin_addr) == 1;
}

static bool parse_unix(struct target *target, const char *path) {
    struct sockaddr_un *address = (struct sockaddr_un *)&target->address;
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof address->sun_path) { return false; }
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, length);
    // Only its length ends an abstract name; a path ends with a zero.
    bool abstract = path[0] == '@';
    if (abstract) { address->sun_path[0] = '\0'; }
    target->length =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (abstract ? 0 : 1));
    return true;
}

bool target_parse(struct target *target, const char *text) {
    memset(target, 0, sizeof *target);
    if (strncmp(text, "tcp://", 6) == 0) {
        target->transport = TRANSPORT_TCP;
        return parse_internet(target, text + 6);
    }
    if (strncmp(text, "udp://", 6) == 0) {
        target->transport = TRANSPORT_UDP;
        return parse_internet(target, text + 6);
    }
    if (strncmp(text, "unix://", 7) == 0) {
        target->transport = TRANSPORT_UNIX;
        return parse_unix(target, text + 7);
    }
    return false;
}

const char *target_name(const struct target *target) {
    switch (target->transport) {
    case TRANSPORT_TCP: return "tcp";
    case TRANSPORT_UDP: return "udp";
    case TRANSPORT_UNIX: return "unix";
    }
    return "";
}

/// Leaves the port to connect(2), which may then choose one that another address uses too.
static bool bind_source(int fd, struct source source) {
    int on = 1;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK + source.number)},
    };
    return bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
}

static int open_socket(const struct target *target, struct source source, int flags) {
    int type = target->transport == TRANSPORT_UDP ? SOCK_DGRAM : SOCK_STREAM;
    int fd = socket(target->address.ss_family, type | SOCK_CLOEXEC | flags, 0);
    if (fd < 0) { return -1; }
    if (target->transport == TRANSPORT_TCP) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    bool internet = target->address.ss_family == AF_INET;
    if (internet && source.number != 0 && !bind_source(fd, source)) {
        close(fd);
        return -1;
    }
    return fd;
}

static int closed(int fd) {
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

int target_connect(const struct target *target, struct source source, double seconds) {
    int fd = open_socket(target, source, 0);
    if (fd < 0) { return -1; }
    // The only timeout that connect(2) uses.
    struct timeval patience = {
        .tv_sec = (time_t)seconds,
        .tv_usec = (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6),
    };
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (const struct sockaddr *)&target->address, target->length) != 0) {
        if (errno == EINPROGRESS) { errno = ETIMEDOUT; }
        return closed(fd);
    }
    return fcntl(fd, F_SETFL, O_NONBLOCK) == 0 ? fd : closed(fd);
}

int target_begin_connect(const struct target *target, struct source source) {
    int fd = open_socket(target, source, SOCK_NONBLOCK);
    if (fd < 0) { return -1; }
    if (connect(fd, (const struct sockaddr *)&target->address, target->length) != 0
        && errno != EINPROGRESS) {
        return closed(fd);
    }
    return fd;
}
