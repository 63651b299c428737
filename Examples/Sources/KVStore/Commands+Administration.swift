import RESPCodec

// What tools ask before they start: CONFIG GET, COMMAND.
extension Command {
    static let administration = [
        Command("info", -1) { call in
            let wanted = (1..<call.count).map { text(call[$0]).lowercased() }
            call.reply.verbatim(ServerReport(call).text(of: wanted))
        },
        Command("config", -2) { config($0) },
        Command("command", -1) { command($0) },
    ]

    private static let settings: [(name: String, value: String)] = [
        ("save", ""), ("appendonly", "no"), ("databases", "1"), ("maxmemory", "0"),
        ("maxmemory-policy", "noeviction"), ("notify-keyspace-events", ""), ("requirepass", ""),
        ("proto-max-bulk-len", "536870912"), ("timeout", "0"),
    ]

    private static func config(_ call: Call) {
        if isWord(call[1], "GET") {
            guard call.count > 2 else { return call.wrongCount("config|get") }
            configGet(call)
        } else if isWord(call[1], "RESETSTAT"), call.count == 2 {
            call.database.resetCounts()
            call.reply.ok()
        } else if isWord(call[1], "HELP"), call.count == 2 {
            help(
                call, "CONFIG",
                [
                    (
                        "GET <pattern>",
                        ["Return parameters matching the glob-like <pattern> and their values."]
                    ),
                    ("RESETSTAT", ["Reset statistics reported by the INFO command."]),
                ])
        } else {
            unknownSubcommand(call, "CONFIG")
        }
    }

    /// A name is answered as it was asked for, and a pattern by the names that it fits, each once.
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

    private static func command(_ call: Call) {
        let commands = call.database.commands.commands
        if call.count == 1 {
            call.reply.array(commands.count)
            for command in commands { CommandFacts.describe(command, call.reply) }
        } else if isWord(call[1], "COUNT") {
            guard call.count == 2 else { return call.wrongCount("command|count") }
            call.reply.integer(commands.count)
        } else if isWord(call[1], "LIST") {
            guard call.count == 2 else { return call.reply.error(Complaint.syntax) }
            call.reply.array(commands.count)
            for command in commands { call.reply.bulk(command.name) }
        } else if isWord(call[1], "DOCS") {
            call.reply.map(0)
        } else if isWord(call[1], "INFO") {
            describeNamed(call)
        } else if isWord(call[1], "HELP"), call.count == 2 {
            help(
                call, "COMMAND",
                [
                    ("(no subcommand)", ["Return details about all commands."]),
                    ("COUNT", ["Return the total number of commands in this server."]),
                    ("LIST", ["Return a list of all commands in this server."]),
                    ("INFO [<command-name> ...]", ["Return details about multiple commands."]),
                    ("DOCS [<command-name> ...]", ["There is no documentation here."]),
                ])
        } else {
            unknownSubcommand(call, "COMMAND")
        }
    }

    private static func describeNamed(_ call: Call) {
        guard call.count > 2 else {
            let commands = call.database.commands.commands
            call.reply.array(commands.count)
            for command in commands { CommandFacts.describe(command, call.reply) }
            return
        }
        call.reply.array(call.count - 2)
        for index in 2..<call.count {
            if let command = call.database.commands.find(call[index]) {
                CommandFacts.describe(command, call.reply)
            } else {
                call.reply.nullArray()
            }
        }
    }

    /// As Redis lays it out.
    static func help(
        _ call: Call, _ name: String, _ subcommands: [(name: String, lines: [String])]
    ) {
        var lines = ["\(name) <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
        for subcommand in subcommands {
            lines.append(subcommand.name)
            lines += subcommand.lines.map { "    " + $0 }
        }
        lines += ["HELP", "    Prints this help."]
        call.reply.array(lines.count)
        for line in lines { call.reply.simpleText(line) }
    }
}
