#include <stdio.h>
#include <stdlib.h>

#include "flood.h"
#include "options.h"
#include "report.h"
#include "run.h"
#include "support.h"

static void load(const struct options *options) {
    struct result *result = allocate(1, sizeof *result);
    run_load(options, result);
    if (options->json) {
        report_json(options, result);
    } else {
        report_text(options, result);
    }
    free(result);
}

int main(int count, char **arguments) {
    struct options options = parse_options(count, arguments);
    if (options.flood) {
        run_flood(&options);
    } else {
        load(&options);
    }
    // A full disk or a closed pipe must not look like a complete report.
    if (fflush(stdout) != 0) { fail(EXIT_FAILED, "the report could not be written"); }
    return 0;
}
