#ifndef CONNECTION_H
#define CONNECTION_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "options.h"

/// One connection at a time, and the request that it waits for.
struct connection {
    const struct options *options;
    SSL *ssl;
    int fd;
    unsigned index;
    /// Positions in the request and in its answer.
    size_t sent;
    size_t received;
    uint64_t started_ns;
    /// For the next connection.
    SSL_SESSION *session;
    /// Asks epoll or poll for room for output instead of input.
    bool awaits_output;
};

enum progress {
    PROGRESS_WAITS,
    PROGRESS_ANSWERED,
};

/// Returns the context of all connections.
SSL_CTX *connection_context(const struct options *options);

/// Prepares the bytes of all requests.
void connection_prepare(const struct options *options);

/// Connects to the server, without a handshake. `number` chooses the source address.
void connection_open(struct connection *connection, SSL_CTX *context, uint64_t number);

/// Begins the next request on a connection that is open.
void connection_ask(struct connection *connection, uint64_t now);

/// Does as much of the handshake, the request and its answer as it can without waiting.
enum progress connection_step(struct connection *connection);

/// Waits for the event that the last step lacked.
void connection_wait(struct connection *connection);

/// Waits for the answer.
void connection_finish(struct connection *connection);

/// Ends the stream and closes. Keeps a session for the next connection.
void connection_close(struct connection *connection);

#endif
