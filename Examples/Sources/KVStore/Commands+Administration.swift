import RESPCodec

// INFO, CONFIG and COMMAND, which tools send before they start.
extension Command {
    static let administration = [
        Command("info", -1) { call in
            let wanted = (1..<call.count).map { text(call[$0]).lowercased() }
            call.reply.verbatim(ServerReport(call).text(of: wanted))
        },
        Command("config", -2, configSubcommands),
        Command("command", -1, commandSubcommands) { describeAll($0) },
    ]

    private static let settings: [(name: String, value: String)] = [
        ("save", ""), ("appendonly", "no"), ("databases", "1"), ("maxmemory", "0"),
        ("maxmemory-policy", "noeviction"), ("notify-keyspace-events", ""), ("requirepass", ""),
        ("proto-max-bulk-len", "536870912"), ("timeout", "0"),
    ]

    private static let configSubcommands = [
        Subcommand(
            name: "GET", arity: -3, usage: "GET <pattern>",
            help: ["Return parameters matching the glob-like <pattern> and their values."]
        ) { configGet($0) },
        Subcommand(
            name: "RESETSTAT", arity: 2, usage: "RESETSTAT",
            help: ["Reset statistics reported by the INFO command."]
        ) { call in
            call.database.resetCounts()
            call.reply.ok()
        },
    ]

    /// Writes the settings that match, each once. A name is repeated in the client's spelling, and
    /// a pattern is replaced by the names that it matches.
    private static func configGet(_ call: Call) {
        var found: [(name: String, value: String)] = []
        var seen: Set<String> = []
        for index in 2..<call.count {
            let asked = text(call[index])
            let lowercase = asked.lowercased()
            let isPattern = asked.utf8.contains { "*?[".utf8.contains($0) }
            for setting in settings where !seen.contains(setting.name) {
                let fits =
                    isPattern
                    ? Array(lowercase.utf8).withUnsafeBytes { pattern in
                        Array(setting.name.utf8).withUnsafeBytes { matches(pattern, $0) }
                    } : setting.name == lowercase
                guard fits else { continue }
                seen.insert(setting.name)
                found.append((isPattern ? setting.name : asked, setting.value))
            }
        }
        call.reply.map(found.count)
        for setting in found {
            call.reply.bulk(setting.name)
            call.reply.bulk(setting.value)
        }
    }

    private static let commandSubcommands = [
        Subcommand(
            name: "COUNT", arity: 2, usage: "COUNT",
            help: ["Return the total number of commands in this server."]
        ) { call in call.reply.integer(call.database.commands.commands.count) },
        Subcommand(
            name: "LIST", arity: -2, usage: "LIST",
            help: ["Return a list of all commands in this server."]
        ) { call in
            guard call.count == 2 else { return call.reply.error(Complaint.syntax) }
            let commands = call.database.commands.commands
            call.reply.array(commands.count)
            for command in commands { call.reply.bulk(command.name) }
        },
        Subcommand(
            name: "INFO", arity: -2, usage: "INFO [<command-name> ...]",
            help: ["Return details about multiple commands."]
        ) { describeNamed($0) },
        Subcommand(
            name: "DOCS", arity: -2, usage: "DOCS [<command-name> ...]",
            help: ["There is no documentation here."]
        ) { $0.reply.map(0) },
    ]

    private static func describeAll(_ call: Call) {
        let commands = call.database.commands.commands
        call.reply.array(commands.count)
        for command in commands { CommandFacts.describe(command, call.reply) }
    }

    private static func describeNamed(_ call: Call) {
        guard call.count > 2 else { return describeAll(call) }
        call.reply.array(call.count - 2)
        for index in 2..<call.count {
            if let command = call.database.commands.find(call[index]) {
                CommandFacts.describe(command, call.reply)
            } else {
                call.reply.nullArray()
            }
        }
    }
}
