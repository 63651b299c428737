// The echo server over TLS that one would write by hand for one thread: epoll, and OpenSSL on the
// socket. With a fixed reply it is the floor of a web server's cost over TLS.
#define _GNU_SOURCE
#include <errno.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "options.h"
#include "serving.h"

enum { BUFFER = 64 * 1024, MOST_EVENTS = 256 };

struct connection {
    SSL *ssl;
    /// Bytes that the socket has not accepted yet. Nothing is read meanwhile.
    unsigned char *unsent;
    size_t unsent_start;
    size_t unsent_end;
    bool is_established;
    /// Awaits room for output instead of input.
    bool awaits_output;
    /// The bytes of a request's end that have come: its length is that of `request_end`.
    unsigned char matched;
};

static const char request_end[] = "\r\n\r\n";
static unsigned char buffer[BUFFER];
static const char *reply;
static size_t reply_length;
static int epoll;

static void await(struct connection *connection, bool output) {
    if (connection->awaits_output == output) { return; }
    connection->awaits_output = output;
    int fd = SSL_get_fd(connection->ssl);
    watch(epoll, EPOLL_CTL_MOD, fd, output ? EPOLLOUT : EPOLLIN, connection);
}

static void drop(struct connection *connection) {
    int fd = SSL_get_fd(connection->ssl);
    SSL_free(connection->ssl);
    close(fd);
    free(connection->unsent);
    free(connection);
}

static void accept_all(int listener, SSL_CTX *context) {
    int fd;
    while ((fd = accept_next(listener)) >= 0) {
        struct connection *connection = calloc(1, sizeof *connection);
        if (connection == NULL) { fail("calloc"); }
        connection->ssl = SSL_new(context);
        if (connection->ssl == NULL || SSL_set_fd(connection->ssl, fd) != 1) { fail("SSL_new"); }
        SSL_set_accept_state(connection->ssl);
        watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, connection);
    }
}

/// Returns the library's error for a call without success, and forgets it: one of this connection
/// must not pass for the next one's.
static int error_of(struct connection *connection, int result) {
    int error = SSL_get_error(connection->ssl, result);
    if (ERR_peek_error() != 0) { ERR_clear_error(); }
    return error;
}

/// Returns false if the connection is over. Else it awaits the event that the library needs.
static bool goes_on(struct connection *connection, int error) {
    if (error == SSL_ERROR_ZERO_RETURN) { SSL_shutdown(connection->ssl); }
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) { return false; }
    await(connection, error == SSL_ERROR_WANT_WRITE);
    return true;
}

/// Sends as many bytes as the socket takes, and keeps the rest. Returns false if the connection is
/// over.
static bool send_all(struct connection *connection, const unsigned char *bytes, size_t length) {
    size_t sent = 0;
    while (sent < length) {
        size_t part = 0;
        int result = SSL_write_ex(connection->ssl, bytes + sent, length - sent, &part);
        if (result != 1) {
            if (!goes_on(connection, error_of(connection, result))) { return false; }
            connection->unsent = malloc(length - sent);
            if (connection->unsent == NULL) { fail("malloc"); }
            memcpy(connection->unsent, bytes + sent, length - sent);
            connection->unsent_start = 0;
            connection->unsent_end = length - sent;
            return true;
        }
        sent += part;
    }
    return true;
}

/// Returns false if the connection is over.
static bool send_rest(struct connection *connection) {
    while (connection->unsent_start < connection->unsent_end) {
        size_t part = 0;
        int result = SSL_write_ex(
            connection->ssl, connection->unsent + connection->unsent_start,
            connection->unsent_end - connection->unsent_start, &part);
        if (result != 1) { return goes_on(connection, error_of(connection, result)); }
        connection->unsent_start += part;
    }
    free(connection->unsent);
    connection->unsent = NULL;
    await(connection, false);
    return true;
}

/// Returns the number of requests that end within the bytes.
static size_t requests_in(struct connection *connection, size_t count) {
    size_t found = 0;
    for (size_t index = 0; index < count; index += 1) {
        if (buffer[index] == (unsigned char)request_end[connection->matched]) {
            connection->matched += 1;
        } else {
            connection->matched = buffer[index] == '\r';
        }
        if (connection->matched == sizeof request_end - 1) {
            connection->matched = 0;
            found += 1;
        }
    }
    return found;
}

static bool answer(struct connection *connection, size_t count) {
    if (reply == NULL) { return send_all(connection, buffer, count); }
    size_t requests = requests_in(connection, count);
    if (requests == 1) {
        return send_all(connection, (const unsigned char *)reply, reply_length);
    }
    size_t length = requests * reply_length;
    if (length == 0) { return true; }
    unsigned char *replies = malloc(length);
    if (replies == NULL) { fail("malloc"); }
    for (size_t at = 0; at < length; at += reply_length) {
        memcpy(replies + at, reply, reply_length);
    }
    bool is_open = send_all(connection, replies, length);
    free(replies);
    return is_open;
}

/// Returns false if the connection is over.
static bool establish(struct connection *connection) {
    int result = SSL_do_handshake(connection->ssl);
    if (result != 1) { return goes_on(connection, error_of(connection, result)); }
    connection->is_established = true;
    await(connection, false);
    return true;
}

/// Answers all that can be read, up to a buffer's length, by one write. Returns false if the
/// connection is over; `more` tells that the library holds bytes, of which epoll knows nothing.
static bool serve_part(struct connection *connection, bool *more) {
    size_t count = 0;
    int result = 1;
    // Not until nothing is left to read: that call is saved, since epoll tells of the socket's.
    do {
        size_t part = 0;
        result = SSL_read_ex(connection->ssl, buffer + count, sizeof buffer - count, &part);
        count += part;
        *more = result == 1 && SSL_has_pending(connection->ssl);
    } while (*more && count < sizeof buffer);
    int error = result == 1 ? SSL_ERROR_NONE : error_of(connection, result);
    if (count > 0 && !answer(connection, count)) { return false; }
    return error == SSL_ERROR_NONE || connection->unsent != NULL || goes_on(connection, error);
}

/// Returns false if the connection is over.
static bool serve(struct connection *connection) {
    if (!connection->is_established) {
        if (!establish(connection)) { return false; }
        if (!connection->is_established) { return true; }
    }
    if (connection->unsent != NULL && !send_rest(connection)) { return false; }
    bool more = true;
    while (more && connection->unsent == NULL) {
        if (!serve_part(connection, &more)) { return false; }
    }
    return true;
}

static void run(int listener, SSL_CTX *context) {
    static char accepting, ending;
    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, &accepting);
    watch(epoll, EPOLL_CTL_ADD, termination(), EPOLLIN, &ending);
    announce(listener);
    struct epoll_event events[MOST_EVENTS];
    for (;;) {
        int count = epoll_wait(epoll, events, MOST_EVENTS, -1);
        if (count < 0 && errno != EINTR) { fail("epoll_wait"); }
        for (int index = 0; index < count; index += 1) {
            void *tag = events[index].data.ptr;
            if (tag == &ending) { return; }
            if (tag == &accepting) {
                accept_all(listener, context);
            } else if (!serve(tag)) {
                drop(tag);
            }
        }
    }
}

int main(int count, char **arguments) {
    struct options options = parse_options(count, arguments);
    char *port[] = {arguments[0], options.port};
    int listener = listener_from(2, port);
    SSL_CTX *context = context_for(&options);
    reply = options.reply;
    reply_length = reply == NULL ? 0 : strlen(reply);
    raise_descriptor_limit();
    // OpenSSL writes without MSG_NOSIGNAL.
    signal(SIGPIPE, SIG_IGN);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) { fail("epoll_create1"); }
    run(listener, context);
    SSL_CTX_free(context);
    return 0;
}
