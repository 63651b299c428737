#include "progress.h"

#include <stdio.h>
#include <unistd.h>

static bool on_terminal(void) { return isatty(STDERR_FILENO) == 1; }

void progress_show(struct progress *progress, const struct options *options, uint64_t now,
                   uint64_t answers, bool warming) {
    if (progress->shown_ns == 0) {
        progress->first_ns = now;
        progress->shown_ns = now;
        progress->shown_answers = answers;
        return;
    }
    // A log file keeps every line, a terminal only the last one.
    bool terminal = on_terminal();
    uint64_t interval = now - progress->shown_ns;
    if (interval < (terminal ? 500000000u : 2000000000u)) { return; }
    double rate = (double)(answers - progress->shown_answers) * 1e9 / (double)interval;
    fprintf(stderr, "%s%u x %llu B: %5.1f s, %llu requests, %.0f/s%s%s", terminal ? "\r" : "",
            options->connections, (unsigned long long)options->size,
            (double)(now - progress->first_ns) / 1e9, (unsigned long long)answers, rate,
            warming ? ", warming up" : "", terminal ? "\033[K" : "\n");
    fflush(stderr);
    progress->line_is_open = terminal;
    progress->shown_ns = now;
    progress->shown_answers = answers;
}

void progress_end(struct progress *progress) {
    if (progress->line_is_open) { fputs("\r\033[K", stderr); }
    progress->line_is_open = false;
}
