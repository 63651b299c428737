#include <stdio.h>
#include <stdlib.h>

#include "options.h"
#include "run.h"
#include "support.h"

struct summary {
    double seconds;
    double rate;
    double p50;
    double p99;
    double p999;
    double maximum;
    double server_cpu;
    double client_cpu;
};

static struct summary summarize(const struct result *result) {
    const struct histogram *latencies = &result->latencies;
    double requests = result->requests == 0 ? 1 : (double)result->requests;
    return (struct summary){
        .seconds = (double)result->elapsed_ns / 1e9,
        .rate = (double)result->requests * 1e9 / (double)result->elapsed_ns,
        .p50 = (double)histogram_quantile(latencies, 0.5) / 1e3,
        .p99 = (double)histogram_quantile(latencies, 0.99) / 1e3,
        .p999 = (double)histogram_quantile(latencies, 0.999) / 1e3,
        .maximum = (double)latencies->maximum / 1e3,
        .server_cpu = (double)result->server_cpu_ns / 1e3 / requests,
        .client_cpu = (double)result->client_cpu_ns / 1e3 / requests,
    };
}

static void print_slices(const struct slices *slices) {
    fputs(",\"server_cpu_us_slices\":[", stdout);
    for (size_t index = 0; index < slices->count; index += 1) {
        printf("%s%.4f", index == 0 ? "" : ",", slices->cpu_us_per_request[index]);
    }
    putchar(']');
}

static void print_json(const struct options *options, const struct result *result) {
    struct summary summary = summarize(result);
    printf("{\"connections\":%u,\"size\":%llu,\"pipeline\":%u,\"requests\":%llu,\"seconds\":%.6f,"
           "\"requests_per_second\":%.1f,\"p50_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,"
           "\"max_us\":%.2f,\"client_cpu_us_per_request\":%.4f",
           options->connections, (unsigned long long)options->size, options->pipeline,
           (unsigned long long)result->requests, summary.seconds, summary.rate, summary.p50,
           summary.p99, summary.p999, summary.maximum, summary.client_cpu);
    if (options->server_pid != 0) {
        printf(",\"server_cpu_us_per_request\":%.4f", summary.server_cpu);
    }
    if (options->slice_seconds != 0) { print_slices(&result->slices); }
    puts("}");
}

static void print_text(const struct options *options, const struct result *result) {
    struct summary summary = summarize(result);
    printf("%u connections, %llu B, pipeline %u\n", options->connections,
           (unsigned long long)options->size, options->pipeline);
    printf("requests      %llu in %.3f s, %.0f/s\n", (unsigned long long)result->requests,
           summary.seconds, summary.rate);
    printf("latency       p50 %.1f, p99 %.1f, p99.9 %.1f, max %.1f us\n", summary.p50, summary.p99,
           summary.p999, summary.maximum);
    printf("client CPU    %.3f us per request\n", summary.client_cpu);
    if (options->server_pid != 0) {
        printf("server CPU    %.3f us per request\n", summary.server_cpu);
    }
}

int main(int count, char **arguments) {
    struct options options = parse_options(count, arguments);
    struct result *result = allocate(1, sizeof *result);
    run_load(&options, result);
    if (options.json) {
        print_json(&options, result);
    } else {
        print_text(&options, result);
    }
    // A full disk or a closed pipe must not pass for a report.
    if (fflush(stdout) != 0) { fail(EXIT_FAILED, "the report could not be written"); }
    free(result);
    return 0;
}
