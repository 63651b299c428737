#ifndef FLOOD_H
#define FLOOD_H

#include "options.h"

/// Connects and resets as fast as it can, for `options->seconds`, then prints the counts.
void run_flood(const struct options *options);

#endif
