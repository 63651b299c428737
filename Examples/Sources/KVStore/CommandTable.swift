/// A command: its name in lower case, as errors show it, and Redis's arity: so many words, or with
/// a minus at least so many.
final class Command: Sendable {
    let name: String
    let arity: Int
    let isForSubscribers: Bool
    let run: @Sendable (Call) -> Void

    init(
        _ name: String, _ arity: Int, isForSubscribers: Bool = false,
        _ run: @escaping @Sendable (Call) -> Void
    ) {
        self.name = name
        self.isForSubscribers = isForSubscribers
        self.arity = arity
        self.run = run
    }

    static func forSubscribers(
        _ name: String, _ arity: Int, _ run: @escaping @Sendable (Call) -> Void
    ) -> Command {
        Command(name, arity, isForSubscribers: true, run)
    }
}

/// Finds commands by name in any case, without allocating: a name of at most 16 bytes is a number.
struct CommandTable: Sendable {
    private struct Slot {
        var name: UInt128 = 0
        var number = 0
    }

    let commands: [Command]
    private var slots = [Slot](repeating: Slot(), count: 256)

    init() {
        commands =
            Command.strings + Command.counters + Command.keys + Command.expiries
            + Command.lists + Command.hashes + Command.sets + Command.channels
            + Command.connections + Command.administration
        for (number, command) in commands.enumerated() {
            let name = Array(command.name.utf8).withUnsafeBytes { Self.packed($0) }
            var place = Self.place(of: name)
            while slots[place].name != 0 { place = (place + 1) & 255 }
            slots[place] = Slot(name: name, number: number)
        }
    }

    func find(_ bytes: UnsafeRawBufferPointer) -> Command? {
        let name = Self.packed(bytes)
        guard name != 0 else { return nil }
        var place = Self.place(of: name)
        while slots[place].name != name {
            if slots[place].name == 0 { return nil }
            place = (place + 1) & 255
        }
        return commands[slots[place].number]
    }

    /// 0 for what cannot be a name.
    private static func packed(_ bytes: UnsafeRawBufferPointer) -> UInt128 {
        guard 1...16 ~= bytes.count else { return 0 }
        var name: UInt128 = 0
        for byte in bytes {
            guard byte != 0 else { return 0 }
            name = name << 8 | UInt128(uppercase(byte))
        }
        return name
    }

    private static func place(of name: UInt128) -> Int {
        let mixed = UInt64(truncatingIfNeeded: name ^ name >> 64) &* 0x9E37_79B9_7F4A_7C15
        return Int(mixed >> 56)
    }
}
