#define _GNU_SOURCE
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "support.h"

static const char usage[] =
    "usage: load-client --port P --connections C --size BYTES (--requests TOTAL | --seconds S)\n"
    "  --pipeline N          requests in flight on each connection (1)\n"
    "  --warmup-requests N   answered before the measured ones (0)\n"
    "  --timeout S           give up when no answer has come for so long (60)\n"
    "  --server-pid PID      also report the processor time of this process\n"
    "  --slices S            and what it was, per request, in each stretch of S seconds\n"
    "  --progress            a progress line on stderr\n"
    "  --json                the report as one JSON object\n"
    "Every connection keeps its requests in flight and checks every byte that comes back.\n";

static uint64_t whole(const char *name, const char *text, uint64_t least, uint64_t most) {
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    // strtoull takes "-1" for a very large number.
    bool bad = text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0;
    if (bad || value < least || value > most) {
        fail(EXIT_USAGE, "--%s takes a number from %llu to %llu, not '%s'", name,
             (unsigned long long)least, (unsigned long long)most, text);
    }
    return value;
}

static double duration(const char *name, const char *text) {
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(value) || value <= 0 || value > 1e6) {
        fail(EXIT_USAGE, "--%s takes a number of seconds, not '%s'", name, text);
    }
    return value;
}

static void set_option(struct options *options, char which, const char *name, const char *text) {
    switch (which) {
    case 'p': options->port = (uint16_t)whole(name, text, 1, 65535); break;
    case 'c': options->connections = (unsigned)whole(name, text, 1, 1000000); break;
    case 's': options->size = whole(name, text, 1, 1ull << 32); break;
    case 'n': options->pipeline = (unsigned)whole(name, text, 1, 65536); break;
    case 'r': options->requests = whole(name, text, 1, 1ull << 48); break;
    case 't': options->seconds = duration(name, text); break;
    case 'w': options->warmup_requests = whole(name, text, 0, 1ull << 48); break;
    case 'o': options->timeout = duration(name, text); break;
    case 'i': options->server_pid = (pid_t)whole(name, text, 1, INT_MAX); break;
    case 'l': options->slice_seconds = duration(name, text); break;
    case 'g': options->progress = true; break;
    case 'j': options->json = true; break;
    case 'h':
        fputs(usage, stdout);
        exit(0);
    default: break;
    }
}

static void check(const struct options *options) {
    if (options->port == 0) { fail(EXIT_USAGE, "--port is missing"); }
    if (options->connections == 0) { fail(EXIT_USAGE, "--connections is missing"); }
    if (options->size == 0) { fail(EXIT_USAGE, "--size is missing"); }
    if ((options->requests != 0) == (options->seconds != 0)) {
        fail(EXIT_USAGE, "one of --requests and --seconds is needed, and not both");
    }
    if (options->slice_seconds != 0 && options->server_pid == 0) {
        fail(EXIT_USAGE, "--slices needs --server-pid");
    }
}

struct options parse_options(int count, char **arguments) {
    static const struct option known[] = {
        {"port", required_argument, NULL, 'p'},
        {"connections", required_argument, NULL, 'c'},
        {"size", required_argument, NULL, 's'},
        {"pipeline", required_argument, NULL, 'n'},
        {"requests", required_argument, NULL, 'r'},
        {"seconds", required_argument, NULL, 't'},
        {"warmup-requests", required_argument, NULL, 'w'},
        {"timeout", required_argument, NULL, 'o'},
        {"server-pid", required_argument, NULL, 'i'},
        {"slices", required_argument, NULL, 'l'},
        {"progress", no_argument, NULL, 'g'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct options options = {.pipeline = 1, .timeout = 60};
    // getopt's own complaint would be a line besides ours.
    opterr = 0;
    int which;
    int index = 0;
    while ((which = getopt_long(count, arguments, ":", known, &index)) != -1) {
        if (which == ':') { fail(EXIT_USAGE, "%s needs a value", arguments[optind - 1]); }
        if (which == '?') { fail(EXIT_USAGE, "unknown option %s", arguments[optind - 1]); }
        set_option(&options, (char)which, known[index].name, optarg);
    }
    if (optind < count) { fail(EXIT_USAGE, "unexpected argument '%s'", arguments[optind]); }
    check(&options);
    return options;
}
