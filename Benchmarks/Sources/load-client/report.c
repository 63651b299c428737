#define _GNU_SOURCE
#include "report.h"

#include <stdio.h>
#include <unistd.h>

static double requests_of(const struct result *result) {
    return result->requests == 0 ? 1 : (double)result->requests;
}

static double rate_of(const struct result *result) {
    return (double)result->requests * 1e9 / (double)result->elapsed_ns;
}

static double quantile_us(const struct result *result, double share) {
    return (double)histogram_quantile(&result->latencies, share) / 1e3;
}

/// Returns the share of user time, from ticks, so it is coarse in short runs.
static double user_share(const struct usage *server) {
    uint64_t ticks = server->user_ticks + server->system_ticks;
    return ticks == 0 ? 0 : (double)server->user_ticks / (double)ticks;
}

static double bytes_per_idle(const struct options *options, const struct result *result) {
    double grown = (double)result->resident_bytes_idle - (double)result->resident_bytes_empty;
    return grown / options->idle;
}

static void print_slices(const struct slices *slices) {
    fputs(",\"server_cpu_us_slices\":[", stdout);
    for (size_t index = 0; index < slices->count; index += 1) {
        printf("%s%.4f", index == 0 ? "" : ",", slices->cpu_us_per_request[index]);
    }
    putchar(']');
}

static void print_server(const struct options *options, const struct result *result) {
    double requests = requests_of(result);
    const struct usage *server = &result->server;
    printf(",\"server_cpu_us_per_request\":%.4f,\"server_user_share\":%.4f,"
           "\"server_voluntary_switches_per_request\":%.5f,"
           "\"server_involuntary_switches_per_request\":%.5f,"
           "\"server_wait_us_per_request\":%.4f,\"server_peak_rss_bytes\":%llu",
           (double)server->cpu_ns / 1e3 / requests, user_share(server),
           (double)server->voluntary_switches / requests,
           (double)server->involuntary_switches / requests,
           (double)server->waited_ns / 1e3 / requests,
           (unsigned long long)result->peak_resident_bytes);
    if (options->idle != 0) {
        printf(",\"server_rss_bytes_empty\":%llu,\"server_rss_bytes_idle\":%llu,"
               "\"server_rss_bytes_per_idle\":%.1f",
               (unsigned long long)result->resident_bytes_empty,
               (unsigned long long)result->resident_bytes_idle, bytes_per_idle(options, result));
    }
}

void report_json(const struct options *options, const struct result *result) {
    printf("{\"transport\":\"%s\",\"connections\":%u,\"size\":%llu,\"pipeline\":%u,\"idle\":%u,"
           "\"churn\":%s,\"rate\":%g,\"requests\":%llu,\"seconds\":%.6f,"
           "\"requests_per_second\":%.1f",
           target_name(&options->target), options->connections, (unsigned long long)options->size,
           options->pipeline, options->idle, options->churn ? "true" : "false", options->rate,
           (unsigned long long)result->requests, (double)result->elapsed_ns / 1e9, rate_of(result));
    printf(",\"lost\":%llu,\"late\":%llu,\"errors\":%llu,\"unsent\":%llu",
           (unsigned long long)result->lost, (unsigned long long)result->late,
           (unsigned long long)result->errors, (unsigned long long)result->unsent);
    printf(",\"p50_us\":%.2f,\"p90_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,\"max_us\":%.2f,"
           "\"client_cpu_us_per_request\":%.4f",
           quantile_us(result, 0.5), quantile_us(result, 0.9), quantile_us(result, 0.99),
           quantile_us(result, 0.999), (double)result->latencies.maximum / 1e3,
           (double)result->client_cpu_ns / 1e3 / requests_of(result));
    if (options->server_pid != 0) { print_server(options, result); }
    if (options->slice_seconds != 0) { print_slices(&result->slices); }
    puts("}");
}

static void print_server_text(const struct options *options, const struct result *result) {
    double requests = requests_of(result);
    const struct usage *server = &result->server;
    printf("server CPU    %.3f us per request, %.0f %% of it in user space\n",
           (double)server->cpu_ns / 1e3 / requests, user_share(server) * 100);
    printf("switches      %.4f voluntary, %.4f not, per request\n",
           (double)server->voluntary_switches / requests,
           (double)server->involuntary_switches / requests);
    printf("server memory %.1f MiB at most\n", (double)result->peak_resident_bytes / 1048576);
    if (options->idle == 0) { return; }
    printf("idle          %u connections, %.0f bytes each\n", options->idle,
           bytes_per_idle(options, result));
}

void report_text(const struct options *options, const struct result *result) {
    printf("%u connections, %llu B, pipeline %u\n", options->connections,
           (unsigned long long)options->size, options->pipeline);
    printf("requests      %llu in %.3f s, %.0f/s\n", (unsigned long long)result->requests,
           (double)result->elapsed_ns / 1e9, rate_of(result));
    printf("latency       p50 %.1f, p90 %.1f, p99 %.1f, p99.9 %.1f, max %.1f us\n",
           quantile_us(result, 0.5), quantile_us(result, 0.9), quantile_us(result, 0.99),
           quantile_us(result, 0.999), (double)result->latencies.maximum / 1e3);
    if (options->rate != 0) {
        printf("schedule      %g/s asked for, %llu not sent in time\n", options->rate,
               (unsigned long long)result->unsent);
    }
    if (options->target.transport == TRANSPORT_UDP) {
        printf("datagrams     %llu lost, %llu late\n", (unsigned long long)result->lost,
               (unsigned long long)result->late);
    }
    if (options->churn) {
        printf("connections   %llu failed\n", (unsigned long long)result->errors);
    }
    printf("client CPU    %.3f us per request\n",
           (double)result->client_cpu_ns / 1e3 / requests_of(result));
    if (options->server_pid != 0) { print_server_text(options, result); }
}
