/// An outbound queue and an array of the bytes that the kernel has not accepted yet.
@testable import MillraceEventLoop

struct OutboundTwin: ~Copyable {
    let pool = ChunkPool()
    private var queue = OutboundQueue()
    private var model: [UInt8] = []
    private var inFlight: UnsafeRawBufferPointer?
    /// An unused reservation may keep its room for the next bytes.
    private var mayHoldRoom = false

    mutating func takeStep(_ trial: inout Trial, unusedReservations: Bool) throws {
        switch trial.random.below(100) {
        case 0..<25: append(&trial)
        case 25..<45: try reserve(&trial, mayBeUnused: unusedReservations)
        case 45..<65: try nextToSend(&trial)
        case 65..<70: try takeAtOnce(&trial)
        case 70..<99: try complete(&trial)
        default: try clear(&trial)
        }
        try compare(trial)
    }

    mutating func clear(_ trial: inout Trial) throws {
        trial.begin("clear")
        queue.clear(pool)
        model = []
        inFlight = nil
        mayHoldRoom = false
        try trial.check(pool.inUse == 0, "\(pool.inUse) chunks in use")
    }

    private mutating func append(_ trial: inout Trial) {
        let bytes = trial.random.bytes(trial.random.size(150_000))
        trial.begin("append \(bytes.count)")
        let isShort = trial.random.happens(50)
        bytes.withUnsafeBytes { bytes in
            if isShort, 1...OutboundQueue.largePiece ~= bytes.count,
                let room = queue.appendFirst(bytes.count, pool)
            {
                return room.copyMemory(from: bytes.baseAddress!, byteCount: bytes.count)
            }
            queue.append(bytes, pool)
        }
        model += bytes
    }

    private mutating func reserve(_ trial: inout Trial, mayBeUnused: Bool) throws {
        let capacity = trial.random.size(150_000)
        let room = queue.reserve(capacity, pool)
        try trial.check(room.count >= capacity, "room for \(room.count), not \(capacity)")
        let isUnused = mayBeUnused && trial.random.happens(40)
        if isUnused { mayHoldRoom = true }
        let bytes = trial.random.bytes(
            isUnused ? 0 : min(room.count, 1 + trial.random.below(capacity + 1)))
        trial.begin("reserve \(capacity), commit \(bytes.count)")
        room.copyBytes(from: bytes)
        queue.commit(bytes.count, pool)
        model += bytes
    }

    private mutating func nextToSend(_ trial: inout Trial) throws {
        trial.begin("nextToSend")
        var taken = trial.random.happens(50) ? single : nil
        if taken == nil { taken = queue.nextToSend(pool) } else { queue.singleTookOff() }
        if inFlight != nil || model.isEmpty {
            try trial.check(taken == nil, "\(taken?.count ?? 0) bytes although none are due")
        } else {
            guard let taken else { return try trial.check(false, "nothing") }
            try trial.check(!taken.isEmpty, "an empty piece")
            inFlight = taken
        }
    }

    private mutating func takeAtOnce(_ trial: inout Trial) throws {
        trial.begin("take at once")
        guard let bytes = single else { return }
        try trial.check(inFlight == nil, "a second piece while one is in flight")
        let isSame = model.withUnsafeBytes { isEqual(bytes, $0.prefix($0.count)) }
        try trial.check(isSame, "not all there is")
        queue.completeSingle(pool)
        model = []
        if !mayHoldRoom { try trial.check(pool.inUse == 0, "\(pool.inUse) chunks in use") }
    }

    private var single: UnsafeRawBufferPointer? {
        queue.single.map { UnsafeRawBufferPointer(start: $0.bytes, count: $0.count) }
    }

    private mutating func complete(_ trial: inout Trial) throws {
        guard let flying = inFlight else { return }
        let amount =
            switch trial.random.below(4) {
            case 0: flying.count
            case 1: max(0, flying.count - trial.random.below(20_000))
            default: trial.random.below(flying.count + 1)
            }
        trial.begin("complete \(amount) of \(flying.count)")
        if !queue.completeWhole(amount, pool) { queue.complete(amount, pool) }
        inFlight = nil
        model.removeFirst(amount)
        if model.isEmpty && !mayHoldRoom {
            try trial.check(pool.inUse == 0, "\(pool.inUse) chunks in use for no bytes")
        }
    }

    private func compare(_ trial: Trial) throws {
        try trial.check(queue.count == model.count, "count \(queue.count), not \(model.count)")
        try trial.check(queue.isEmpty == model.isEmpty, "isEmpty \(queue.isEmpty)")
        try trial.check(queue.isInFlight == (inFlight != nil), "isInFlight \(queue.isInFlight)")
        guard let inFlight else { return }
        let isSame = model.withUnsafeBytes { isEqual(inFlight, $0.prefix(inFlight.count)) }
        try trial.check(isSame, "the part in flight has other bytes")
    }
}
