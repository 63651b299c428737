#ifndef OPTIONS_H
#define OPTIONS_H

#include <openssl/ssl.h>
#include <stdbool.h>

struct options {
    char *port;
    const char *certificate;
    const char *key;
    /// The oldest version that is spoken.
    int minimum;
    /// One receive for the head and the body of a record.
    bool reads_ahead;
    /// An idle connection keeps no buffers.
    bool releases_buffers;
    /// The answer to each request that ends with an empty line; NULL: an echo.
    const char *reply;
};

/// Prints the usage and exits if the arguments are wrong.
struct options parse_options(int count, char **arguments);

/// Returns the context of all connections. Ends the program if the certificate is useless.
SSL_CTX *context_for(const struct options *options);

#endif
