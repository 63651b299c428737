import RESPCodec

/// A command with its name in lower case, which errors show, and Redis's arity. The arity is the
/// number of words; if negative, the least number of words.
final class Command: Sendable {
    let name: String
    let arity: Int
    /// Whether a subscriber may send the command in RESP2.
    let isForSubscribers: Bool
    /// Whether the command is executed at once even after MULTI.
    let isImmediate: Bool
    /// The valid second words; empty if the second word is an argument like others.
    let subcommands: [Subcommand]
    let run: @Sendable (Call) -> Void

    init(
        _ name: String, _ arity: Int, isForSubscribers: Bool = false, isImmediate: Bool = false,
        subcommands: [Subcommand] = [], _ run: @escaping @Sendable (Call) -> Void
    ) {
        self.name = name
        self.isForSubscribers = isForSubscribers
        self.isImmediate = isImmediate
        self.subcommands = subcommands
        self.arity = arity
        self.run = run
    }

    static func forSubscribers(
        _ name: String, _ arity: Int, _ run: @escaping @Sendable (Call) -> Void
    ) -> Command {
        Command(name, arity, isForSubscribers: true, run)
    }
}

/// Finds commands by name in any case, without an allocation: a name is compared as a few integers.
final class CommandTable: Sendable {
    private struct Slot {
        let name: Word
        let command: Command
    }

    let commands: [Command]
    private let slots: [Slot?]

    init() {
        // The most common commands come first, so that they get the slots that are examined first.
        commands = [
            Command.strings, Command.connections, Command.counters, Command.keys, Command.expiries,
            Command.lists, Command.hashes, Command.sets, Command.sortedSets, Command.channels,
            Command.transactions, Command.administration,
        ].flatMap { $0 }
        var slots = [Slot?](repeating: nil, count: Word.places)
        for command in commands {
            let name = Array(command.name.utf8).withUnsafeBytes { Word($0) }
            guard let name else { preconditionFailure("too long: \(command.name)") }
            var place = name.place
            while slots[place] != nil { place = (place + 1) & (Word.places - 1) }
            slots[place] = Slot(name: name, command: command)
        }
        self.slots = slots
    }

    /// Executes the call's request, which has at least a name.
    func run(_ call: Call) {
        guard let command = lend(call[0]) else { return unknown(call) }
        command._withUnsafeGuaranteedRef { command in
            let isCountRight =
                command.arity > 0 ? call.count == command.arity : call.count >= -command.arity
            guard isCountRight else {
                call.session.transaction?.spoil()
                return call.wrongCount(command.name)
            }
            guard call.session.isPlain else { return runSpecially(command, call) }
            command.run(call)
        }
    }

    /// Executes a command of a client that has subscribed or has sent MULTI.
    @inline(never)
    private func runSpecially(_ command: Command, _ call: Call) {
        let session = call.session
        guard command.takes(call) else {
            session.transaction?.spoil()
            return
        }
        guard command.isForSubscribers || !session.isRestricted else {
            session.transaction?.spoil()
            return call.reply.error(
                "ERR Can't execute '\(command.name)': only (P|S)SUBSCRIBE / "
                    + "(P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context")
        }
        guard let transaction = session.transaction, !command.isImmediate else {
            return command.run(call)
        }
        guard transaction.add(call.request) else {
            session.transaction = nil
            call.reply.error("ERR transaction too long")
            return session.end()
        }
        call.reply.simple("QUEUED")
    }

    func find(_ bytes: UnsafeRawBufferPointer) -> Command? { lend(bytes)?.takeUnretainedValue() }

    /// Returns a command without retaining it, since commands live as long as the table.
    @inline(__always)
    private func lend(_ bytes: UnsafeRawBufferPointer) -> Unmanaged<Command>? {
        guard let name = Word(bytes) else { return nil }
        var place = name.place
        while let slot = slots[place] {
            if slot.name == name { return Unmanaged.passUnretained(slot.command) }
            place = (place + 1) & (Word.places - 1)
        }
        return nil
    }

    /// Writes the error for an unknown command. Redis shows at most 128 bytes of the name and of
    /// the arguments together.
    private func unknown(_ call: Call) {
        // Any page can make a browser send these words, with commands in the body after them.
        if isWord(call[0], "POST") || isWord(call[0], "HOST:") { return call.session.end() }
        call.session.transaction?.spoil()
        var (arguments, length) = ("", 0)
        for index in 1..<max(1, call.count) where length < 128 {
            arguments += "'\(shown(call[index], most: 128 - length))' "
            // The length is that of the received bytes, since escapes are longer, plus two quotes
            // and a blank.
            length += min(call[index].prefix { $0 != 0 }.count, 128 - length) + 3
        }
        call.reply.error(
            "ERR unknown command '\(shown(call[0]))', with args beginning with: \(arguments)")
    }
}
