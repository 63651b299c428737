#ifndef TARGET_H
#define TARGET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum transport { TRANSPORT_TCP, TRANSPORT_UDP, TRANSPORT_UNIX };

/// The address on which the server listens.
struct target {
    enum transport transport;
    struct sockaddr_storage address;
    /// Zero if no address was named.
    socklen_t length;
};

/// Parses tcp://127.0.0.1:9000, udp://127.0.0.1:9000, unix:///path or unix://@abstract. Returns
/// false for any other text.
bool target_parse(struct target *target, const char *text);
void target_local_port(struct target *target, uint16_t port);
const char *target_name(const struct target *target);

/// The n-th of several addresses of this host, so that one address's ports do not limit the number
/// of connections. Zero means the address that the kernel chooses.
struct source {
    unsigned number;
};

/// Returns a connected and non-blocking socket; -1 with errno if that failed. Waits for the
/// connection at most this many seconds.
int target_connect(const struct target *target, struct source source, double seconds);

/// Like `target_connect`, but without waiting: the socket may still be connecting.
int target_begin_connect(const struct target *target, struct source source);

#endif
