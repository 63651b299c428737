#define _GNU_SOURCE
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_HELD = 64 };

static const char usage[] =
    "usage: c-uring-trial [options] PORT\n"
    "  --ring plain|coop|defer  by whom completions are made: interrupting us, when we enter the\n"
    "                           kernel for whatever reason, when we enter it to wait (defer)\n"
    "  --direct                 sockets without descriptors, in a table of the ring's\n"
    "  --bundle                 a completion for several buffers of 4 KiB, a send for all of them\n"
    "  --send-bundle            that, and the send takes them from a ring of the connection's\n"
    "  --incremental            a buffer serves several receives until it is full\n"
    "  --zero-copy BYTES        sends from so many bytes on are not copied\n"
    "  --minimum-wait US        wait so long for more than one completion\n"
    "  --wait-for N             that many (32)\n"
    "  --buffers N              a power of two (64; in bundles 1024)\n"
    "  --buffer-size BYTES      (65536; in bundles 4096)\n";

static _Noreturn void refuse(void) {
    fputs(usage, stderr);
    exit(2);
}

static unsigned number(const char *text, unsigned most) {
    char *end = NULL;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value > most) { refuse(); }
    return (unsigned)value;
}

static unsigned setup_of(const char *name) {
    if (strcmp(name, "defer") == 0) {
        return IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    }
    if (strcmp(name, "coop") == 0) {
        return IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN;
    }
    if (strcmp(name, "plain") == 0) { return 0; }
    refuse();
}

static void complete(struct options *options) {
    options->bundle = options->bundle || options->send_bundle;
    // A bundle's completion names only the first buffer, not how many bytes each one holds.
    if (options->bundle && options->incremental) { refuse(); }
    if (options->send_bundle && options->zero_copy_from > 0) { refuse(); }
    if (options->bundle) { options->most_held = MOST_HELD; }
    if (options->buffers == 0) { options->buffers = options->bundle ? 1024 : 64; }
    if (options->buffer_size == 0) { options->buffer_size = options->bundle ? 4096 : 65536; }
    if ((options->buffers & (options->buffers - 1)) != 0) { refuse(); }
}

struct options options_from(int count, char **arguments) {
    static const struct option known[] = {
        {"ring", required_argument, NULL, 'r'},
        {"direct", no_argument, NULL, 'd'},
        {"bundle", no_argument, NULL, 'b'},
        {"send-bundle", no_argument, NULL, 's'},
        {"incremental", no_argument, NULL, 'i'},
        {"zero-copy", required_argument, NULL, 'z'},
        {"minimum-wait", required_argument, NULL, 'w'},
        {"wait-for", required_argument, NULL, 'f'},
        {"buffers", required_argument, NULL, 'n'},
        {"buffer-size", required_argument, NULL, 'l'},
        {NULL, 0, NULL, 0},
    };
    struct options options = {.setup = setup_of("defer"), .wait_for = 32, .most_held = 8};
    int which;
    while ((which = getopt_long(count, arguments, "", known, NULL)) != -1) {
        switch (which) {
        case 'r': options.setup = setup_of(optarg); break;
        case 'd': options.direct = true; break;
        case 'b': options.bundle = true; break;
        case 's': options.send_bundle = true; break;
        case 'i': options.incremental = true; break;
        case 'z': options.zero_copy_from = number(optarg, 1u << 30); break;
        case 'w': options.minimum_wait_us = number(optarg, 1000000); break;
        case 'f': options.wait_for = number(optarg, 4096); break;
        case 'n': options.buffers = number(optarg, 32768); break;
        case 'l': options.buffer_size = number(optarg, 1u << 24); break;
        default: refuse();
        }
    }
    if (count - optind != 1) { refuse(); }
    complete(&options);
    return options;
}
