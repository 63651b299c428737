#ifndef FLOOD_H
#define FLOOD_H

#include "options.h"

/// Connects and resets as fast as it can, for the seconds asked for, then tells how often.
void run_flood(const struct options *options);

#endif
