/// Tests of slots: the order in which they are reused, and that a stale token finds no record.
import MillraceTestSupport
import Testing

@testable import MillraceEventLoop

@Suite struct ConnectionTableTests {
    private static let chunk = 256
    /// Stands in for the loop: the table only stores the pointer.
    private let owner = Census()

    private func makeTable() -> ConnectionTable {
        var table = ConnectionTable()
        table.loop = .fromOpaque(Unmanaged.passUnretained(owner).toOpaque())
        return table
    }

    @Test("a connection table agrees with a model", arguments: Trial.seeds)
    func agreesWithAModel(seed: UInt64) throws {
        var trial = Trial(seed)
        var table = makeTable()
        var model = TableModel()
        var allocatePercent = 70
        for number in 0..<3000 {
            if number % 300 == 0 { allocatePercent = 30 + trial.random.below(60) }
            if trial.random.happens(allocatePercent) || model.alive.isEmpty {
                try model.allocate(&table, &trial)
            } else {
                try model.release(&table, &trial)
            }
            try model.compare(table, trial)
        }
        try model.compareAll(table, trial)
        model.releaseAll(&table)
        let count = table.count
        try trial.check(count == 0, "\(count) slots in use at the end")
    }

    @Test("every connection record starts at a cache line")
    func recordsBeginWhereCacheLinesDo() throws {
        var table = makeTable()
        for _ in 0..<300 {
            let allocated = table.allocate()
            let record = try #require(allocated)
            #expect(UInt(bitPattern: record) % 64 == 0)
            record.state = .open
        }
    }

    @Test("slots are reused first in, first out")
    func slotsAreReusedFirstInFirstOut() throws {
        var table = makeTable()
        var records: [ConnectionReference] = []
        for _ in 0..<Self.chunk { records.append(try open(&table)) }
        #expect(records.map { $0.token.slot } == Array(0..<UInt32(Self.chunk)))
        var random = SplitMix64(seed: 3)
        records.shuffle(using: &random)
        let order = records.map { $0.token.slot }
        for record in records { table.release(record) }
        var reused: [UInt32] = []
        for _ in 0..<Self.chunk { reused.append(try open(&table).token.slot) }
        #expect(reused == order)
    }

    @Test("the table finds no record for a stale token")
    func aStaleTokenFindsNothing() throws {
        var table = makeTable()
        let record = try open(&table)
        let token = record.token
        let found = table.find(token)
        #expect(found == record)
        table.release(record)
        let gone = table.find(token)
        #expect(gone == nil)
        // Until the slot is reused, which happens after all other slots of its chunk.
        var next = try open(&table)
        while next.token.slot != token.slot { next = try open(&table) }
        #expect(next == record, "a record never moves")
        #expect(next.token.generation == token.generation &+ 1)
        let (old, new) = (table.find(token), table.find(next.token))
        #expect(old == nil && new == next)
    }

    @Test("the generation of a slot wraps to 0 after its maximum")
    func generationsComeRound() throws {
        var table = makeTable()
        let record = try open(&table)
        record.token = Token(slot: record.token.slot, generation: .max)
        table.release(record)
        #expect(record.token.generation == 0)
    }

    @Test("a table in reused memory does not find the tokens of the earlier table")
    func aTableThatGetsOldMemoryDoesNotKnowItsTokens() throws {
        var old: [ConnectionReference: Token] = [:]
        do {
            var first = makeTable()
            for _ in 0..<Self.chunk {
                let record = try open(&first)
                old[record] = record.token
            }
        }
        var second = makeTable()
        for _ in 0..<Self.chunk {
            let record = try open(&second)
            guard let token = old[record] else { continue }
            #expect(record.token != token, "a new life under an old name")
            let found = second.find(token)
            #expect(found == nil)
        }
        let count = second.count
        #expect(count == Self.chunk)
    }

    @Test("the table finds no record for an unknown slot")
    func anUnknownSlotFindsNothing() {
        let table = makeTable()
        let (first, last) = (
            table.find(Token(slot: 0, generation: 0)),
            table.find(Token(slot: .max, generation: .max))
        )
        #expect(first == nil && last == nil)
    }

    @Test("a released record is blank except for its slot")
    func aReleasedRecordIsBlank() throws {
        var table = makeTable()
        let record = try open(&table)
        record.flags = [.piped, .dirty]
        record.discarded = 5
        record.descriptor = Descriptor(7)
        let slot = record.token.slot
        table.release(record)
        #expect(record.state == .free && record.flags == .notOpen)
        #expect(record.discarded == 0 && record.descriptor == Descriptor(-1))
        #expect(record.token.slot == slot)
    }

    @Test("the table lists exactly the tokens that match")
    func listsTheTokensWanted() throws {
        var table = makeTable()
        var wanted: Set<Token> = []
        var all: Set<Token> = []
        for number in 0..<1000 {
            let record = try open(&table)
            record.state = number % 3 == 0 ? .lingering : .open
            all.insert(record.token)
            if number % 3 == 0 { wanted.insert(record.token) }
        }
        let lingering = table.tokens { $0.state == .lingering }
        #expect(lingering.count == wanted.count && Set(lingering) == wanted)
        for token in lingering {
            // The list is the caller's copy: slots may be freed and reused during the iteration.
            let found = table.find(token)
            let record = try #require(found)
            table.release(record)
            _ = try open(&table)
        }
        let (left, total) = (table.tokens { $0.state == .lingering }, table.tokens { _ in true })
        #expect(left.isEmpty)
        #expect(total.count == 1000)
        #expect(all.subtracting(wanted).isSubset(of: total))
    }

    @Test("the table grows over several chunks and its records do not move")
    func growsOverSeveralChunks() throws {
        var table = makeTable()
        var records: [ConnectionReference] = []
        for number in 0..<Self.chunk * 20 {
            let record = try open(&table)
            #expect(record.token.slot == UInt32(number))
            records.append(record)
        }
        #expect(Set(records).count == Self.chunk * 20)
        for record in records {
            let found = table.find(record.token)
            #expect(found == record, "slot \(record.token.slot) moved")
        }
        let count = table.count
        #expect(count == Self.chunk * 20)
    }

    private func open(_ table: inout ConnectionTable) throws -> ConnectionReference {
        let allocated = table.allocate()
        let record = try #require(allocated)
        record.state = .open
        return record
    }
}
