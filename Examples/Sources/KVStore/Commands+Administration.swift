import Glibc
import RESPCodec
import Synchronization

// What tools ask before they start: INFO, CONFIG GET, COMMAND.
extension Command {
    static let administration = [
        Command("info", -1) { info($0) },
        Command("config", -2) { config($0) },
        Command("command", -1) { command($0) },
    ]

    private static func info(_ call: Call) {
        let database = call.database
        var (keys, expiring) = (0, 0)
        database.store.forEachShard {
            keys += $0.count
            expiring += $0.expiring
        }
        let sections = [
            (
                "Server",
                [
                    "redis_version:\(version)", "redis_mode:standalone", "os:Linux",
                    "process_id:\(getpid())",
                    "uptime_in_seconds:\((call.now - database.started) / 1000)",
                ]
            ),
            ("Clients", ["connected_clients:\(database.clients.load(ordering: .relaxed))"]),
            (
                "Stats",
                [
                    "total_commands_processed:\(database.executed.load(ordering: .relaxed))",
                    "replies_refused:\(database.repliesRefused.load(ordering: .relaxed))",
                    "subscribers_cut_off:\(database.subscribersCutOff.load(ordering: .relaxed))",
                ]
            ),
            ("Replication", ["role:master", "connected_slaves:0"]),
            ("Keyspace", keys == 0 ? [] : ["db0:keys=\(keys),expires=\(expiring),avg_ttl=0"]),
        ]
        let wanted = (1..<call.count).map { text(call[$0]).lowercased() }
        let isAllWanted =
            wanted.isEmpty || wanted.contains { ["all", "default", "everything"].contains($0) }
        let shown = sections.compactMap { name, lines in
            let isWanted = isAllWanted || wanted.contains(name.lowercased())
            return isWanted ? (["# " + name] + lines).map { $0 + "\r\n" }.joined() : nil
        }
        call.reply.bulk(shown.joined(separator: "\r\n"))
    }

    private static let settings: [(name: String, value: String)] = [
        ("save", ""), ("appendonly", "no"), ("databases", "1"), ("maxmemory", "0"),
        ("proto-max-bulk-len", "536870912"), ("timeout", "0"),
    ]

    private static func config(_ call: Call) {
        guard isWord(call[1], "GET") else { return unknownSubcommand(call, "CONFIG") }
        guard call.count > 2 else { return call.wrongCount("config|get") }
        let found = settings.filter { setting in
            Array(setting.name.utf8).withUnsafeBytes { name in
                (2..<call.count).contains { matches(call[$0], name) }
            }
        }
        call.reply.map(found.count)
        for setting in found {
            call.reply.bulk(setting.name)
            call.reply.bulk(setting.value)
        }
    }

    private static func command(_ call: Call) {
        let commands = call.database.commands.commands
        if call.count == 1 {
            call.reply.array(commands.count)
            for command in commands { describe(command, call.reply) }
        } else if isWord(call[1], "COUNT") {
            guard call.count == 2 else { return call.wrongCount("command|count") }
            call.reply.integer(commands.count)
        } else if isWord(call[1], "DOCS") {
            call.reply.map(0)
        } else if isWord(call[1], "INFO") {
            let names = 2..<max(2, call.count)
            call.reply.array(names.count)
            for index in names {
                let command = call.database.commands.find(call[index])
                if let command {
                    describe(command, call.reply)
                } else {
                    call.reply.nullArray()
                }
            }
        } else {
            unknownSubcommand(call, "COMMAND")
        }
    }

    /// Name, arity, no flags, no positions of keys.
    private static func describe(_ command: Command, _ reply: ReplyWriter) {
        reply.array(6)
        reply.bulk(command.name)
        reply.integer(command.arity)
        reply.set(0)
        for _ in 0..<3 { reply.integer(0) }
    }
}
