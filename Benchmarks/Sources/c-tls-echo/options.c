#define _GNU_SOURCE
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: c-tls-echo PORT --certificate PEM --key PEM\n"
    "  --minimum 1.2|1.3   the oldest version of TLS (1.3)\n"
    "  --read-ahead        receive as much as there is, not a record's head and then its body\n"
    "  --release-buffers   an idle connection keeps no buffers\n"
    "  --reply TEXT        answer each HTTP request without a body with these bytes\n";

static _Noreturn void refuse(void) {
    fputs(usage, stderr);
    exit(2);
}

static int version_of(const char *text) {
    if (strcmp(text, "1.2") == 0) { return TLS1_2_VERSION; }
    if (strcmp(text, "1.3") == 0) { return TLS1_3_VERSION; }
    refuse();
}

struct options parse_options(int count, char **arguments) {
    static const struct option known[] = {
        {"certificate", required_argument, NULL, 'c'},
        {"key", required_argument, NULL, 'k'},
        {"minimum", required_argument, NULL, 'm'},
        {"read-ahead", no_argument, NULL, 'a'},
        {"release-buffers", no_argument, NULL, 'b'},
        {"reply", required_argument, NULL, 'r'},
        {NULL, 0, NULL, 0},
    };
    struct options options = {.minimum = TLS1_3_VERSION};
    opterr = 0;
    int which;
    while ((which = getopt_long(count, arguments, "", known, NULL)) != -1) {
        switch (which) {
        case 'c': options.certificate = optarg; break;
        case 'k': options.key = optarg; break;
        case 'm': options.minimum = version_of(optarg); break;
        case 'a': options.reads_ahead = true; break;
        case 'b': options.releases_buffers = true; break;
        case 'r': options.reply = optarg; break;
        default: refuse();
        }
    }
    bool is_empty = options.reply != NULL && options.reply[0] == '\0';
    if (optind != count - 1 || !options.certificate || !options.key || is_empty) { refuse(); }
    options.port = arguments[optind];
    return options;
}

static _Noreturn void library_failed(const char *what) {
    unsigned long error = ERR_get_error();
    const char *reason = ERR_reason_error_string(error);
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what,
            reason != NULL ? reason : "no reason given");
    exit(1);
}

SSL_CTX *context_for(const struct options *options) {
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL) { library_failed("SSL_CTX_new"); }
    SSL_CTX_set_min_proto_version(context, options->minimum);
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION
                                     | SSL_OP_CIPHER_SERVER_PREFERENCE);
    // A part that the socket did not take may be copied, and is sent as it becomes free.
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (options->releases_buffers) { SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS); }
    SSL_CTX_set_read_ahead(context, options->reads_ahead);
    // Tickets hold the sessions, one for each handshake.
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 1);
    if (SSL_CTX_use_certificate_chain_file(context, options->certificate) != 1) {
        library_failed(options->certificate);
    }
    if (SSL_CTX_use_PrivateKey_file(context, options->key, SSL_FILETYPE_PEM) != 1
        || SSL_CTX_check_private_key(context) != 1) {
        library_failed(options->key);
    }
    return context;
}
