#define _GNU_SOURCE
#include "options.h"

#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

static const char usage[] =
    "usage: tls-load-client --port P (--requests TOTAL | --seconds S)\n"
    "  --mode echo           requests on connections that stay (the default)\n"
    "  --mode full           a connection and a full handshake for each request\n"
    "  --mode resumed        the same with resumed sessions; each ticket is used once\n"
    "  --connections C       at once (1)\n"
    "  --size BYTES          of a request, which must come back (64)\n"
    "  --request TEXT        ask with this text instead; each record that comes is an answer\n"
    "  --warmup-requests N   answered before the measured ones (0)\n"
    "  --idle N              then hold N more connections that asked once\n"
    "  --server-pid PID      also report what this process uses: time, memory\n"
    "  --tls 1.2|1.3         the version (1.3)\n"
    "  --cipher NAMES        the only ones to offer\n"
    "  --json                one line of JSON, the only form\n"
    "It runs on one thread, verifies no certificate, and checks every byte that comes back.\n";

static double duration(const char *name, const char *text) {
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(value) || value <= 0 || value > 1e6) {
        fail(EXIT_USAGE, "--%s takes a number of seconds, not '%s'", name, text);
    }
    return value;
}

/// Returns the place of the text among words that end with NULL.
static int one_of(const char *name, const char *text, const char *const *words) {
    for (int index = 0; words[index] != NULL; index += 1) {
        if (strcmp(text, words[index]) == 0) { return index; }
    }
    fail(EXIT_USAGE, "--%s does not know '%s'", name, text);
}

static void set_option(struct options *options, char which, const char *name, const char *text) {
    enum { MOST_CONNECTIONS = 100000, MOST_BYTES = 1 << 24 };
    static const char *const modes[] = {"echo", "full", "resumed", NULL};
    static const char *const versions[] = {"1.2", "1.3", NULL};
    switch (which) {
    case 'p': options->port = (uint16_t)whole(name, text, 1, 65535); break;
    case 'm': options->mode = (enum mode)one_of(name, text, modes); break;
    case 'c': options->connections = (unsigned)whole(name, text, 1, MOST_CONNECTIONS); break;
    case 's': options->size = whole(name, text, 1, MOST_BYTES); break;
    case 'q': options->request = text; break;
    case 'r': options->requests = whole(name, text, 1, 1ull << 48); break;
    case 't': options->seconds = duration(name, text); break;
    case 'w': options->warmup_requests = whole(name, text, 0, 1ull << 48); break;
    case 'I': options->idle = (unsigned)whole(name, text, 0, MOST_CONNECTIONS); break;
    case 'i': options->server_pid = (pid_t)whole(name, text, 1, INT_MAX); break;
    case 'v': options->version = TLS1_2_VERSION + one_of(name, text, versions); break;
    case 'C': options->cipher = text; break;
    case 'h':
        fputs(usage, stdout);
        exit(0);
    default: break;
    }
}

struct options parse_options(int count, char **arguments) {
    static const struct option known[] = {
        {"port", required_argument, NULL, 'p'},
        {"mode", required_argument, NULL, 'm'},
        {"connections", required_argument, NULL, 'c'},
        {"size", required_argument, NULL, 's'},
        {"request", required_argument, NULL, 'q'},
        {"requests", required_argument, NULL, 'r'},
        {"seconds", required_argument, NULL, 't'},
        {"warmup-requests", required_argument, NULL, 'w'},
        {"idle", required_argument, NULL, 'I'},
        {"server-pid", required_argument, NULL, 'i'},
        {"tls", required_argument, NULL, 'v'},
        {"cipher", required_argument, NULL, 'C'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct options options = {.connections = 1, .size = 64, .version = TLS1_3_VERSION};
    // getopt's own message would be a second line.
    opterr = 0;
    int which;
    int index = 0;
    while ((which = getopt_long(count, arguments, ":", known, &index)) != -1) {
        if (which == ':') { fail(EXIT_USAGE, "%s needs a value", arguments[optind - 1]); }
        if (which == '?') { fail(EXIT_USAGE, "unknown option %s", arguments[optind - 1]); }
        set_option(&options, (char)which, known[index].name, optarg);
    }
    if (optind < count) { fail(EXIT_USAGE, "unexpected argument '%s'", arguments[optind]); }
    if (options.port == 0) { fail(EXIT_USAGE, "--port is missing"); }
    if ((options.requests != 0) == (options.seconds != 0)) {
        fail(EXIT_USAGE, "one of --requests and --seconds is needed, and not both");
    }
    return options;
}
