#define _GNU_SOURCE
#include "options.h"

#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "datagram.h"
#include "support.h"

static const char usage[] =
    "usage: load-client (--port P | --to ADDRESS) --connections C --size BYTES\n"
    "                   (--requests TOTAL | --seconds S)\n"
    "  --to ADDRESS          tcp://127.0.0.1:9000, udp://127.0.0.1:9000, unix:///path or\n"
    "                        unix://@abstract; --port P is short for tcp://127.0.0.1:P\n"
    "  --pipeline N          requests in flight on each connection (1)\n"
    "  --rate R              R requests per second, at even distances whether or not answers\n"
    "                        come; a latency counts from when its request was due\n"
    "  --churn               a connection for each request: connect, ask, close\n"
    "  --flood               connect and reset, as fast as one can, for --seconds; no requests\n"
    "  --idle N              hold N more connections that asked once and then keep silent\n"
    "  --sources N           connect from N addresses, 127.0.0.2 and so on (as many as needed)\n"
    "  --lost-after S        when a datagram without an answer counts as lost (0.5)\n"
    "  --warmup-requests N   answered before the measured ones (0)\n"
    "  --timeout S           give up when no answer has come for so long (60)\n"
    "  --server-pid PID      also report what this process uses: time, switches, memory\n"
    "  --slices S            and its time, per request, in each stretch of S seconds\n"
    "  --progress            a progress line on stderr\n"
    "  --announce            the line \"measuring\" on stderr when the measured time begins\n"
    "  --json                the report as one JSON object\n"
    "Every connection keeps its requests in flight and checks every byte that comes back.\n"
    "SIGINT ends the measured time early.\n";

static double positive(const char *name, const char *what, const char *text, double most) {
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(value) || value <= 0 || value > most) {
        fail(EXIT_USAGE, "--%s takes a number of %s, not '%s'", name, what, text);
    }
    return value;
}

static double duration(const char *name, const char *text) {
    return positive(name, "seconds", text, 1e6);
}

static void set_option(struct options *options, char which, const char *name, const char *text) {
    enum { MOST_CONNECTIONS = 1000000, MOST_SOURCES = 60000 };
    switch (which) {
    case 'p': target_local_port(&options->target, (uint16_t)whole(name, text, 1, 65535)); break;
    case 'a':
        if (!target_parse(&options->target, text)) {
            fail(EXIT_USAGE, "--to takes tcp://ADDRESS:PORT, udp://ADDRESS:PORT or unix://PATH,"
                             " not '%s'", text);
        }
        break;
    case 'c': options->connections = (unsigned)whole(name, text, 1, MOST_CONNECTIONS); break;
    case 's': options->size = whole(name, text, 1, 1ull << 32); break;
    case 'n': options->pipeline = (unsigned)whole(name, text, 1, 65536); break;
    case 'r': options->requests = whole(name, text, 1, 1ull << 48); break;
    case 't': options->seconds = duration(name, text); break;
    case 'R': options->rate = positive(name, "requests per second", text, 1e9); break;
    case 'w': options->warmup_requests = whole(name, text, 0, 1ull << 48); break;
    case 'o': options->timeout = duration(name, text); break;
    case 'L': options->lost_after = duration(name, text); break;
    case 'I': options->idle = (unsigned)whole(name, text, 0, MOST_CONNECTIONS); break;
    case 'S': options->sources = (unsigned)whole(name, text, 1, MOST_SOURCES); break;
    case 'C': options->churn = true; break;
    case 'F': options->flood = true; break;
    case 'i': options->server_pid = (pid_t)whole(name, text, 1, INT_MAX); break;
    case 'l': options->slice_seconds = duration(name, text); break;
    case 'g': options->progress = true; break;
    case 'A': options->announce = true; break;
    case 'j': options->json = true; break;
    case 'h':
        fputs(usage, stdout);
        exit(0);
    default: break;
    }
}

static void check(const struct options *options) {
    if (options->target.length == 0) { fail(EXIT_USAGE, "--port or --to is missing"); }
    if (options->flood) {
        if (options->target.transport != TRANSPORT_TCP || options->seconds == 0) {
            fail(EXIT_USAGE, "--flood needs a tcp address and --seconds");
        }
        return;
    }
    if (options->connections == 0) { fail(EXIT_USAGE, "--connections is missing"); }
    if (options->size == 0) { fail(EXIT_USAGE, "--size is missing"); }
    if ((options->requests != 0) == (options->seconds != 0)) {
        fail(EXIT_USAGE, "one of --requests and --seconds is needed, and not both");
    }
    if (options->slice_seconds != 0 && options->server_pid == 0) {
        fail(EXIT_USAGE, "--slices needs --server-pid");
    }
    bool datagrams = options->target.transport == TRANSPORT_UDP;
    if (datagrams && (options->churn || options->idle != 0)) {
        fail(EXIT_USAGE, "--churn and --idle are about connections, and udp has none");
    }
    if (datagrams && (options->size < DATAGRAM_LEAST || options->size > DATAGRAM_MOST)) {
        fail(EXIT_USAGE, "--size of a datagram is from %d to %d", DATAGRAM_LEAST, DATAGRAM_MOST);
    }
    if (options->churn && (options->pipeline != 1 || options->rate != 0)) {
        fail(EXIT_USAGE, "--churn goes with neither --pipeline nor --rate");
    }
}

/// Returns the default number of addresses, which keeps each one's ports well below Linux's 28,000.
/// With a connection for each request, closed connections hold their ports for a while too.
static unsigned default_sources(const struct options *options) {
    enum { PORTS = 20000, CHURNING = 64 };
    if (options->flood) { return 1; }
    if (options->churn) { return CHURNING; }
    return (options->connections + options->idle + PORTS - 1) / PORTS;
}

struct source source_of(const struct options *options, uint64_t number) {
    if (options->sources == 1) { return (struct source){0}; }
    return (struct source){.number = 1 + (unsigned)(number % options->sources)};
}

struct options parse_options(int count, char **arguments) {
    static const struct option known[] = {
        {"port", required_argument, NULL, 'p'},
        {"to", required_argument, NULL, 'a'},
        {"connections", required_argument, NULL, 'c'},
        {"size", required_argument, NULL, 's'},
        {"pipeline", required_argument, NULL, 'n'},
        {"requests", required_argument, NULL, 'r'},
        {"seconds", required_argument, NULL, 't'},
        {"rate", required_argument, NULL, 'R'},
        {"warmup-requests", required_argument, NULL, 'w'},
        {"timeout", required_argument, NULL, 'o'},
        {"lost-after", required_argument, NULL, 'L'},
        {"idle", required_argument, NULL, 'I'},
        {"sources", required_argument, NULL, 'S'},
        {"churn", no_argument, NULL, 'C'},
        {"flood", no_argument, NULL, 'F'},
        {"server-pid", required_argument, NULL, 'i'},
        {"slices", required_argument, NULL, 'l'},
        {"progress", no_argument, NULL, 'g'},
        {"announce", no_argument, NULL, 'A'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct options options = {.pipeline = 1, .timeout = 60, .lost_after = 0.5};
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
    check(&options);
    if (options.sources == 0) { options.sources = default_sources(&options); }
    return options;
}
