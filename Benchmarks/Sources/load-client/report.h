#ifndef REPORT_H
#define REPORT_H

#include "options.h"
#include "run.h"

void report_json(const struct options *options, const struct result *result);
void report_text(const struct options *options, const struct result *result);

#endif
