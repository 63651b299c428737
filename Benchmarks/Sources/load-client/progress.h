#ifndef PROGRESS_H
#define PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "options.h"

struct progress {
    uint64_t first_ns;
    uint64_t shown_ns;
    uint64_t shown_answers;
    bool line_is_open;
};

/// Writes a line when one is due.
void progress_show(struct progress *progress, const struct options *options, uint64_t now,
                   uint64_t answers, bool warming);
void progress_end(struct progress *progress);

#endif
