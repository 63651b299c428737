import RESPCodec

/// A command: its name in lower case, as errors show it, and Redis's arity: so many words, or with
/// a minus at least so many.
final class Command: Sendable {
    let name: String
    let arity: Int
    /// Allowed in RESP2 to who has subscribed.
    let isForSubscribers: Bool
    /// Executed at once also after MULTI.
    let isImmediate: Bool
    /// What its second word may be; empty if that is an argument like others.
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

/// Finds commands by name in any case, without allocating: a name is a few numbers.
final class CommandTable: Sendable {
    private struct Slot {
        let name: Word
        let command: Command
    }

    let commands: [Command]
    private let slots: [Slot?]

    init() {
        // The commonest first: they get the places that are looked at first.
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

    /// Executes the call's request, which has a name at least.
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

    /// For a client that has subscribed, or sent MULTI.
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

    /// Commands live as long as the table, so none is retained for a request.
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

    /// Redis shows at most 128 bytes of the name and of the arguments together.
    private func unknown(_ call: Call) {
        // A browser can be made to send these from any page, with commands in the body behind them.
        if isWord(call[0], "POST") || isWord(call[0], "HOST:") { return call.session.end() }
        call.session.transaction?.spoil()
        var (arguments, length) = ("", 0)
        for index in 1..<max(1, call.count) where length < 128 {
            arguments += "'\(shown(call[index], most: 128 - length))' "
            // Of what came, since escapes are longer: two quotes and a blank.
            length += min(call[index].prefix { $0 != 0 }.count, 128 - length) + 3
        }
        call.reply.error(
            "ERR unknown command '\(shown(call[0]))', with args beginning with: \(arguments)")
    }
}
