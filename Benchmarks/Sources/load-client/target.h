#ifndef TARGET_H
#define TARGET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum transport { TRANSPORT_TCP, TRANSPORT_UDP, TRANSPORT_UNIX };

/// Where the server listens.
struct target {
    enum transport transport;
    struct sockaddr_storage address;
    /// Zero if none was named.
    socklen_t length;
};

/// From tcp://127.0.0.1:9000, udp://127.0.0.1:9000, unix:///path or unix://@abstract.
bool target_parse(struct target *target, const char *text);
void target_local_port(struct target *target, uint16_t port);
const char *target_name(const struct target *target);

/// The n-th of several addresses of this host, so that one address' ports do not limit how many
/// connections there are. Zero stands for the address that the kernel chooses.
struct source {
    unsigned number;
};

/// Connected and non-blocking; -1 with errno if that failed. Waits for the connection for so many
/// seconds.
int target_connect(const struct target *target, struct source source, double seconds);

/// As above, but without waiting: it may still be connecting.
int target_begin_connect(const struct target *target, struct source source);

#endif
