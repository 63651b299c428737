import RESPCodec

/// A second word of CLIENT, CONFIG or COMMAND, which selects their function.
struct Subcommand: Sendable {
    let name: StaticString
    /// The arity like that of a command, with both words counted.
    let arity: Int
    let usage: String
    let help: [String]
    let run: @Sendable (Call) -> Void
}

extension Command {
    /// Creates a command whose second word selects its function; `alone` runs without a second
    /// word.
    convenience init(
        _ name: String, _ arity: Int, _ subcommands: [Subcommand],
        alone: @escaping @Sendable (Call) -> Void = { _ in }
    ) {
        let help = Subcommand(name: "HELP", arity: 2, usage: "HELP", help: ["Prints this help."]) {
            Self.help($0, name, subcommands)
        }
        let all = subcommands + [help]
        self.init(name, arity, subcommands: all) { call in
            guard call.count > 1 else { return alone(call) }
            Self.find(call, name, all)?.run(call)
        }
    }

    /// Returns false after an error was written, if the second word is not valid. Redis checks it
    /// when a command arrives, and not when a transaction executes it.
    func takes(_ call: Call) -> Bool {
        subcommands.isEmpty || call.count < 2 || Self.find(call, name, subcommands) != nil
    }

    /// Returns the subcommand; nil after an error was written.
    private static func find(
        _ call: Call, _ name: String, _ subcommands: [Subcommand]
    ) -> Subcommand? {
        guard let found = subcommands.first(where: { isWord(call[1], $0.name) }) else {
            call.reply.error(
                "ERR unknown subcommand '\(shown(call[1]))'. Try \(name.uppercased()) HELP.")
            return nil
        }
        guard found.arity > 0 ? call.count == found.arity : call.count >= -found.arity else {
            call.wrongCount("\(name)|\("\(found.name)".lowercased())")
            return nil
        }
        return found
    }

    /// Writes the help text in Redis's layout.
    private static func help(_ call: Call, _ name: String, _ subcommands: [Subcommand]) {
        let start = "\(name.uppercased()) <subcommand> [<arg> [value] [opt] ...]."
        var lines = [start + " Subcommands are:"]
        for subcommand in subcommands {
            lines.append(subcommand.usage)
            lines += subcommand.help.map { "    " + $0 }
        }
        lines += ["HELP", "    Prints this help."]
        call.reply.array(lines.count)
        for line in lines { call.reply.simpleText(line) }
    }
}
