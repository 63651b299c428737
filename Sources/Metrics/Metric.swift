/// The table of the metrics: each field of `Statistics`, its name and its kind.
#if Metrics
internal import NetAPI

/// A counter of `Statistics` as a metric.
struct Metric: Sendable {
    /// The kind of a metric, and the field that it reports.
    enum Kind: Sendable {
        /// A number that only grows. Its increments are reported.
        case counter(WritableKeyPath<Statistics, Int> & Sendable)
        /// A number that grows and falls. Its present value is reported.
        case gauge(WritableKeyPath<Statistics, Int> & Sendable)
        /// A time. Its present value is reported, in seconds.
        case seconds(WritableKeyPath<Statistics, Duration> & Sendable)
    }

    let name: String
    let kind: Kind

    init(_ name: String, _ kind: Kind) {
        self.name = name
        self.kind = kind
    }

    /// Each public field of `Statistics`, in its order. A name is the field's in snake case, with
    /// the library's name in front and `_total` or the unit behind.
    static let all = [
        Metric("millrace_accepted_total", .counter(\.accepted)),
        Metric("millrace_open", .gauge(\.open)),
        Metric("millrace_lingering", .gauge(\.lingering)),
        Metric("millrace_bytes_in_total", .counter(\.bytesIn)),
        Metric("millrace_bytes_out_total", .counter(\.bytesOut)),
        Metric("millrace_turns_total", .counter(\.turns)),
        Metric("millrace_accept_back_offs_total", .counter(\.acceptBackOffs)),
        Metric("millrace_accept_pauses_total", .counter(\.acceptPauses)),
        Metric("millrace_acceptor_waits_total", .counter(\.acceptorWaits)),
        Metric("millrace_balancer_fall_backs_total", .counter(\.balancerFallBacks)),
        Metric("millrace_read_pauses_total", .counter(\.readPauses)),
        Metric("millrace_overflow_closes_total", .counter(\.overflowCloses)),
        Metric("millrace_timeouts_total", .counter(\.timeouts)),
        Metric("millrace_handshakes_total", .counter(\.handshakes)),
        Metric("millrace_handshake_failures_total", .counter(\.handshakeFailures)),
        Metric("millrace_insecure_closes_total", .counter(\.insecureCloses)),
        Metric("millrace_lookups_total", .counter(\.lookups)),
        Metric("millrace_lookup_failures_total", .counter(\.lookupFailures)),
        Metric("millrace_stale_completions_total", .counter(\.staleCompletions)),
        Metric("millrace_refused_posts_total", .counter(\.refusedPosts)),
        Metric("millrace_host_refusals_total", .counter(\.hostRefusals)),
        Metric("millrace_slow_turns_total", .counter(\.slowTurns)),
        Metric("millrace_longest_turn_seconds", .seconds(\.longestTurn)),
        Metric("millrace_offloads_waiting", .gauge(\.offloadsWaiting)),
        Metric("millrace_offload_refusals_total", .counter(\.offloadRefusals)),
        Metric("millrace_offloads_skipped_total", .counter(\.offloadsSkipped)),
        Metric("millrace_offload_pauses_total", .counter(\.offloadPauses)),
        Metric("millrace_datagrams_in_total", .counter(\.datagramsIn)),
        Metric("millrace_datagrams_out_total", .counter(\.datagramsOut)),
        Metric("millrace_segmented_sends_total", .counter(\.segmentedSends)),
        Metric("millrace_segmentation_fall_backs_total", .counter(\.segmentationFallBacks)),
        Metric("millrace_coalesced_receives_total", .counter(\.coalescedReceives)),
        Metric("millrace_datagram_drops_total", .counter(\.datagramDrops)),
        Metric("millrace_datagram_errors_total", .counter(\.datagramErrors)),
        Metric("millrace_kernel_entries_total", .counter(\.kernelEntries)),
        Metric("millrace_buffer_starvations_total", .counter(\.bufferStarvations)),
        Metric("millrace_completion_overflows_total", .counter(\.completionOverflows)),
        Metric("millrace_failed_loops_total", .counter(\.failedLoops)),
    ]
}
#endif
