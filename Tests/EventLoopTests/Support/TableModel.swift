/// A model of a connection table, made of arrays and dictionaries.
@testable import MillraceEventLoop

struct TableModel {
    private(set) var alive: [(record: ConnectionReference, token: Token)] = []
    private var dead: [Token] = []
    private var vacant: [UInt32] = []
    private var slots: UInt32 = 0
    private var generations: [UInt32: UInt32] = [:]

    mutating func allocate(_ table: inout ConnectionTable, _ trial: inout Trial) throws {
        trial.begin("allocate")
        if vacant.isEmpty {
            vacant += slots..<slots + 256
            slots += 256
        }
        let expected = vacant.removeFirst()
        guard let record = table.allocate() else { return try trial.check(false, "no slot") }
        let token = record.token
        try trial.check(token.slot == expected, "slot \(token.slot), not \(expected)")
        try trial.check(record.state == .free, "\(record.state)")
        if let generation = generations[token.slot] {
            try trial.check(token.generation == generation, "generation \(token.generation)")
        }
        record.state = [.open, .finishing, .lingering][trial.random.below(3)]
        alive.append((record, token))
    }

    mutating func release(_ table: inout ConnectionTable, _ trial: inout Trial) throws {
        let (record, token) = alive.remove(at: trial.random.below(alive.count))
        trial.begin("release \(token)")
        try trial.check(record.token == token, "the record is another's")
        end(record, token, &table)
        let found = table.find(token)
        try trial.check(found == nil, "found after its release")
    }

    mutating func releaseAll(_ table: inout ConnectionTable) {
        for (record, token) in alive { end(record, token, &table) }
        alive = []
    }

    private mutating func end(
        _ record: ConnectionReference, _ token: Token, _ table: inout ConnectionTable
    ) {
        table.release(record)
        generations[token.slot] = token.generation &+ 1
        vacant.append(token.slot)
        dead.append(token)
    }

    /// Compares the newest record and a few others: all of them, after each step, would take too
    /// long.
    func compare(_ table: borrowing ConnectionTable, _ trial: Trial) throws {
        let count = table.count
        try trial.check(count == alive.count, "count \(count), not \(alive.count)")
        for (record, token) in alive.prefix(1) + alive.suffix(2) {
            let found = table.find(token)
            try trial.check(found == record, "\(token) is not found")
        }
        for token in dead.suffix(3) {
            let found = table.find(token)
            try trial.check(found == nil, "\(token) is over but found")
        }
    }

    func compareAll(_ table: borrowing ConnectionTable, _ trial: Trial) throws {
        for (record, token) in alive {
            let found = table.find(token)
            try trial.check(found == record, "\(token) is not found")
        }
        for token in dead {
            let found = table.find(token)
            try trial.check(found == nil, "\(token) is over but found")
        }
        let listed = table.tokens { _ in true }
        try trial.check(Set(listed) == Set(alive.map(\.token)), "other tokens are listed")
        try trial.check(listed.count == alive.count, "a token is listed twice")
    }
}
