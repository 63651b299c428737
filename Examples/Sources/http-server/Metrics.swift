// The server's counters in the text format that Prometheus reads.
import HTTPCodec
import NetAPI

enum Metrics {
    static func text(of server: Server, _ settings: HTTPSettings) -> [UInt8] {
        let counters = server.statistics
        var text = ""
        func add(_ name: String, _ kind: String, _ help: String, _ value: Int) {
            text += "# HELP millrace_\(name) \(help)\n# TYPE millrace_\(name) \(kind)\n"
            text += "millrace_\(name) \(value)\n"
        }
        add("connections_accepted_total", "counter", "Connections taken in.", counters.accepted)
        add("connections_open", "gauge", "Connections alive now.", counters.open)
        add("received_bytes_total", "counter", "Bytes received.", counters.bytesIn)
        add("sent_bytes_total", "counter", "Bytes that the kernel took.", counters.bytesOut)
        add("loop_turns_total", "counter", "Turns of the loops.", counters.turns)
        add("accept_back_offs_total", "counter", "Accepting failed.", counters.acceptBackOffs)
        add("accept_pauses_total", "counter", "Accepting paused.", counters.acceptPauses)
        add("read_pauses_total", "counter", "Reading paused for a slow peer.", counters.readPauses)
        add("overflow_closes_total", "counter", "Closed for too much.", counters.overflowCloses)
        add("timeout_closes_total", "counter", "Closed as idle.", counters.timeouts)
        add(
            "slow_readers_total", "counter", "Reset, too slow for an answer.",
            settings.slowReaders.value)
        add("refused_posts_total", "counter", "Messages refused.", counters.refusedPosts)
        add("failed_loops_total", "counter", "Loops that ended early.", counters.failedLoops)
        text += "# HELP millrace_requests_refused_total Refused and closed, by status.\n"
        text += "# TYPE millrace_requests_refused_total counter\n"
        for (status, count) in settings.refusals.values {
            text += "millrace_requests_refused_total{status=\"\(status.rawValue)\"} \(count)\n"
        }
        return Array(text.utf8)
    }
}
