#define _GNU_SOURCE
#include "connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support.h"

enum { PATIENCE_MS = 30000, SOURCES = 64, PIECE = 64 * 1024 };

static unsigned char *request;
static size_t request_size;
static unsigned char scratch[PIECE];

static _Noreturn void lost(const struct connection *connection, const char *what) {
    unsigned long error = ERR_get_error();
    const char *reason = error != 0 ? ERR_reason_error_string(error) : NULL;
    fail(EXIT_FAILED, "connection %u: %s: %s", connection->index, what,
         reason != NULL ? reason : errno != 0 ? strerror(errno) : "closed by the server");
}

static int keep_session(SSL *ssl, SSL_SESSION *session) {
    struct connection *connection = SSL_get_app_data(ssl);
    SSL_SESSION_free(connection->session);
    connection->session = session;
    return 1;
}

SSL_CTX *connection_context(const struct options *options) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL) { fail(EXIT_FAILED, "no context"); }
    SSL_CTX_set_min_proto_version(context, options->version);
    SSL_CTX_set_max_proto_version(context, options->version);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_session_cache_mode(
        context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(context, keep_session);
    if (options->cipher != NULL) {
        int known = options->version == TLS1_2_VERSION
                        ? SSL_CTX_set_cipher_list(context, options->cipher)
                        : SSL_CTX_set_ciphersuites(context, options->cipher);
        if (known != 1) { fail(EXIT_USAGE, "--cipher does not know '%s'", options->cipher); }
    }
    return context;
}

void connection_prepare(const struct options *options) {
    request_size = options->request != NULL ? strlen(options->request) : options->size;
    request = allocate(request_size, 1);
    uint32_t state = 0x9e3779b9;
    for (size_t index = 0; index < request_size; index += 1) {
        state = state * 1664525u + 1013904223u;
        request[index] = options->request != NULL ? (unsigned char)options->request[index]
                                                  : (unsigned char)(state >> 24);
    }
}

void connection_open(struct connection *connection, SSL_CTX *context, uint64_t number) {
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->fd < 0) { lost(connection, "socket"); }
    int on = 1;
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(connection->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    // Closed connections hold their ports for a while, too many for one address.
    struct sockaddr_in source = {
        .sin_family = AF_INET,
        .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)(number % SOURCES))},
    };
    struct sockaddr_in server = {
        .sin_family = AF_INET,
        .sin_port = htons(connection->options->port),
        .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
    };
    if (bind(connection->fd, (struct sockaddr *)&source, sizeof source) != 0
        || connect(connection->fd, (struct sockaddr *)&server, sizeof server) != 0
        || fcntl(connection->fd, F_SETFL, O_NONBLOCK) != 0) {
        lost(connection, "connect");
    }
    connection->ssl = SSL_new(context);
    if (connection->ssl == NULL || SSL_set_fd(connection->ssl, connection->fd) != 1) {
        lost(connection, "SSL_new");
    }
    SSL_set_app_data(connection->ssl, connection);
    SSL_set_connect_state(connection->ssl);
    connection->awaits_output = false;
    if (connection->options->mode != MODE_RESUMED || connection->session == NULL) { return; }
    if (SSL_set_session(connection->ssl, connection->session) != 1) {
        lost(connection, "SSL_set_session");
    }
    SSL_SESSION_free(connection->session);
    connection->session = NULL;
}

void connection_ask(struct connection *connection, uint64_t now) {
    connection->sent = 0;
    connection->received = 0;
    connection->started_ns = now;
}

/// Returns whether the library only waits for the socket. Every other error ends the program.
static bool waits(struct connection *connection, int result, const char *what) {
    int error = SSL_get_error(connection->ssl, result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) { lost(connection, what); }
    connection->awaits_output = error == SSL_ERROR_WANT_WRITE;
    return true;
}

static bool sends_all(struct connection *connection) {
    while (connection->sent < request_size) {
        size_t part = 0;
        errno = 0;
        int result = SSL_write_ex(connection->ssl, request + connection->sent,
                                  request_size - connection->sent, &part);
        if (result != 1) { return !waits(connection, result, "writing"); }
        connection->sent += part;
    }
    return true;
}

static void check(struct connection *connection, size_t count) {
    const struct options *options = connection->options;
    if (options->request != NULL) { return; }
    if (count > request_size - connection->received
        || memcmp(scratch, request + connection->received, count) != 0) {
        fail(EXIT_FAILED, "connection %u: not the bytes that were sent", connection->index);
    }
}

enum progress connection_step(struct connection *connection) {
    errno = 0;
    if (!SSL_is_init_finished(connection->ssl)) {
        int result = SSL_do_handshake(connection->ssl);
        if (result != 1) {
            waits(connection, result, "handshake");
            return PROGRESS_WAITS;
        }
    }
    if (!sends_all(connection)) { return PROGRESS_WAITS; }
    size_t wanted = connection->options->request != NULL ? 1 : request_size;
    while (connection->received < wanted) {
        size_t part = 0;
        int result = SSL_read_ex(connection->ssl, scratch, sizeof scratch, &part);
        if (result != 1) {
            waits(connection, result, "reading");
            return PROGRESS_WAITS;
        }
        check(connection, part);
        connection->received += part;
    }
    return PROGRESS_ANSWERED;
}

void connection_wait(struct connection *connection) {
    struct pollfd wanted = {
        .fd = connection->fd,
        .events = connection->awaits_output ? POLLOUT : POLLIN,
    };
    if (poll(&wanted, 1, PATIENCE_MS) == 0) {
        fail(EXIT_FAILED, "connection %u: no answer", connection->index);
    }
}

void connection_finish(struct connection *connection) {
    while (connection_step(connection) == PROGRESS_WAITS) { connection_wait(connection); }
}

void connection_close(struct connection *connection) {
    bool keeps = connection->options->mode == MODE_RESUMED && connection->session == NULL;
    if (keeps && SSL_version(connection->ssl) == TLS1_2_VERSION) {
        // With TLS 1.2 a server may let a ticket be used again.
        connection->session = SSL_get1_session(connection->ssl);
    }
    SSL_shutdown(connection->ssl);
    SSL_free(connection->ssl);
    close(connection->fd);
    ERR_clear_error();
}
