#ifndef OPTIONS_H
#define OPTIONS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum mode {
    /// Requests on connections that last as long as the run.
    MODE_ECHO,
    /// A connection and a full handshake for each request.
    MODE_FULL,
    /// A connection for each request, whose handshake resumes a session by a ticket of its own.
    MODE_RESUMED,
};

struct options {
    uint16_t port;
    enum mode mode;
    unsigned connections;
    size_t size;
    /// The bytes to ask with; any answer will do. NULL: `size` bytes, which must come back.
    const char *request;
    uint64_t requests;
    double seconds;
    uint64_t warmup_requests;
    unsigned idle;
    pid_t server_pid;
    int version;
    const char *cipher;
};

/// Ends the program if the arguments are wrong.
struct options parse_options(int count, char **arguments);

#endif
