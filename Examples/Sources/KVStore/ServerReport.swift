import Glibc
import Synchronization

/// The report of INFO: the fields that tools and client libraries read. Fields of features that
/// this server does not have are included, so that tools see their absence.
struct ServerReport {
    private let sections: [(name: String, lines: [String])]

    init(_ call: Call) {
        let database = call.database
        var (keys, expiring) = (0, 0)
        database.store.forEachShard {
            keys += $0.count
            expiring += $0.expiring
        }
        let uptime = max(0, call.now - database.started) / 1000
        let memory = Self.residentBytes()
        func read(_ counter: borrowing Atomic<Int>) -> Int { counter.load(ordering: .relaxed) }
        sections = [
            (
                "Server",
                [
                    "redis_version:\(Command.version)", "redis_mode:standalone", "os:Linux",
                    "arch_bits:\(Int.bitWidth)", "process_id:\(getpid())",
                    "uptime_in_seconds:\(uptime)", "uptime_in_days:\(uptime / 86_400)",
                ]
            ),
            (
                "Clients",
                [
                    "connected_clients:\(read(database.clients))", "cluster_connections:0",
                    "blocked_clients:0", "tracking_clients:0",
                ]
            ),
            (
                "Memory",
                [
                    "used_memory:\(memory)", "used_memory_human:\(Self.human(memory))",
                    "used_memory_rss:\(memory)", "used_memory_rss_human:\(Self.human(memory))",
                    "maxmemory:0", "maxmemory_human:0B", "maxmemory_policy:noeviction",
                ]
            ),
            (
                "Persistence",
                [
                    "loading:0", "async_loading:0", "rdb_bgsave_in_progress:0",
                    "rdb_last_bgsave_status:ok", "aof_enabled:0", "aof_rewrite_in_progress:0",
                ]
            ),
            (
                "Stats",
                [
                    "total_connections_received:\(read(database.accepted))",
                    "total_commands_processed:\(read(database.executed))",
                    "expired_keys:\(read(database.store.swept))", "evicted_keys:0",
                    "pubsub_channels:\(database.hub.channelCount)",
                    "pubsub_patterns:\(database.hub.patternCount)",
                    "replies_refused:\(read(database.repliesRefused))",
                    "subscribers_cut_off:\(read(database.subscribersCutOff))",
                ]
            ),
            ("Replication", ["role:master", "connected_slaves:0"]),
            ("Cluster", ["cluster_enabled:0"]),
            ("Keyspace", keys == 0 ? [] : ["db0:keys=\(keys),expires=\(expiring),avg_ttl=0"]),
        ]
    }

    /// Returns the wanted sections, named in lower case, or all sections.
    func text(of wanted: [String]) -> String {
        let isAllWanted =
            wanted.isEmpty || wanted.contains { ["all", "default", "everything"].contains($0) }
        let shown = sections.compactMap { name, lines in
            let isWanted = isAllWanted || wanted.contains(name.lowercased())
            return isWanted ? (["# " + name] + lines).map { $0 + "\r\n" }.joined() : nil
        }
        return shown.joined(separator: "\r\n")
    }

    /// Returns the resident bytes of the process; 0 if the system does not report them.
    private static func residentBytes() -> Int {
        let file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return 0 }
        defer { close(file) }
        let text = withUnsafeTemporaryAllocation(byteCount: 128, alignment: 1) { buffer in
            let count = read(file, buffer.baseAddress, buffer.count)
            return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
        }
        let pages = text.split(separator: " ").dropFirst().first.flatMap { Int($0) }
        return (pages ?? 0) * sysconf(CInt(_SC_PAGESIZE))
    }

    /// Returns a size with two digits after the point, like Redis.
    private static func human(_ bytes: Int) -> String {
        let units: [(name: String, size: Int)] = [
            ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10),
        ]
        guard let unit = units.first(where: { bytes >= $0.size }) else { return "\(bytes)B" }
        let hundredths = bytes * 100 / unit.size
        let fraction = hundredths % 100
        return "\(hundredths / 100).\(fraction < 10 ? "0" : "")\(fraction)\(unit.name)"
    }
}
