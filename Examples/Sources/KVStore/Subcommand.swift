import RESPCodec

/// The second word of CLIENT, CONFIG and COMMAND, which says what they do.
struct Subcommand: Sendable {
    let name: StaticString
    /// As for commands, the two words counted.
    let arity: Int
    let usage: String
    let help: [String]
    let run: @Sendable (Call) -> Void
}

extension Command {
    /// One that does what its second word says; `alone` is what it does without one.
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

    /// False after an error was written, for want of a right second word. Redis looks at it when a
    /// command comes, and not when a transaction executes it.
    func takes(_ call: Call) -> Bool {
        subcommands.isEmpty || call.count < 2 || Self.find(call, name, subcommands) != nil
    }

    /// Nil after an error was written.
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

    /// As Redis lays it out.
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
