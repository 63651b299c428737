/// An inbound buffer and an array of the same bytes, used like in a loop.
import Glibc

@testable import MillraceEventLoop

struct InboundTwin: ~Copyable {
    private var buffer = InboundBuffer()
    private var model: [UInt8] = []
    private var searched = 0
    private var retired = RetiredBlocks()
    /// The driver's memory, and the bytes that the driver wrote there.
    private var lent: (memory: UnsafeMutableRawBufferPointer, bytes: [UInt8])?
    /// The spans and contents of blocks before `merge` replaced them.
    private var seen: [(memory: UnsafeRawBufferPointer, bytes: [UInt8])] = []

    mutating func takeStep(_ trial: inout Trial) throws {
        switch trial.random.below(100) {
        case 0..<35: try receive(&trial)
        case 35..<65: consume(&trial)
        case 65..<75: search(&trial)
        case 75..<83: try merge(&trial)
        case 83..<99: try settle(&trial)
        default: try release(&trial)
        }
        try compare(trial)
    }

    mutating func end() {
        buffer.release()
        retired.free()
        lent?.memory.deallocate()
    }

    private mutating func receive(_ trial: inout Trial) throws {
        // A `settle` always comes between two callbacks of a connection.
        if buffer.isLent { try settle(&trial) }
        let size = trial.random.size(20_000)
        let bytes = trial.random.bytes(size)
        if model.isEmpty && size > 0 && trial.random.happens(60) {
            trial.begin("lend \(size)")
            let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 1)
            memory.copyBytes(from: bytes)
            lent = (memory, bytes)
            buffer.lend(UnsafeRawBufferPointer(memory))
        } else {
            trial.begin("append \(size)")
            bytes.withUnsafeBytes { buffer.append($0) }
        }
        model += bytes
    }

    private mutating func consume(_ trial: inout Trial) {
        let isAll = trial.random.happens(25)
        let amount = isAll ? model.count : trial.random.below(model.count + 1)
        trial.begin("consume \(amount)")
        buffer.consume(amount)
        model.removeFirst(amount)
        searched = max(0, searched - amount)
    }

    private mutating func search(_ trial: inout Trial) {
        searched = trial.random.below(model.count + 1)
        trial.begin("search up to \(searched)")
        buffer.searched = searched
    }

    private mutating func merge(_ trial: inout Trial) throws {
        trial.begin("merge")
        let (front, back, base) = (buffer.front, buffer.back, buffer.base)
        let wasWrapped = buffer.isWrapped
        if wasWrapped { seen += [(front, Array(front)), (back, Array(back))] }
        buffer.merge(&retired)
        try trial.check(!buffer.isWrapped && buffer.back.isEmpty, "still in two pieces")
        try trial.check(wasWrapped || buffer.base == base, "moved one piece")
    }

    private mutating func settle(_ trial: inout Trial) throws {
        trial.begin("settle")
        buffer.settle()
        try endOfCallback(trial)
        try trial.check(!buffer.isLent, "still lent")
        if model.isEmpty {
            try trial.check(buffer.base == nil && buffer.capacity == 0, "owns memory while empty")
        } else {
            let limit = 4 * max(model.count, 512)
            try trial.check(
                buffer.capacity <= limit, "\(buffer.capacity) for \(model.count) unread bytes")
        }
    }

    private mutating func release(_ trial: inout Trial) throws {
        trial.begin("release")
        buffer.release()
        model = []
        searched = 0
        try endOfCallback(trial)
        try trial.check(buffer.base == nil && buffer.capacity == 0, "owns memory when released")
    }

    /// After this the handler's spans are invalid and the driver owns its memory again.
    private mutating func endOfCallback(_ trial: Trial) throws {
        for (memory, bytes) in seen {
            try trial.check(isSame(memory, bytes), "a retired block changed")
        }
        seen = []
        retired.free()
        if let (memory, bytes) = lent {
            let original = UnsafeRawBufferPointer(memory)
            try trial.check(isSame(original, bytes), "the driver's memory was written to")
            // Makes a later use of the memory visible.
            if let base = memory.baseAddress { memset(base, 0xEE, memory.count) }
            memory.deallocate()
            lent = nil
        }
    }

    private func compare(_ trial: Trial) throws {
        let (front, back) = (buffer.front, buffer.back)
        try trial.check(buffer.count == model.count, "count \(buffer.count), not \(model.count)")
        try trial.check(
            front.count + back.count == model.count,
            "pieces of \(front.count) and \(back.count) for \(model.count)")
        let isRight = model.withUnsafeBytes { bytes in
            isEqual(front, bytes.prefix(front.count))
                && isEqual(back, bytes.dropFirst(front.count))
        }
        try trial.check(isRight, "other bytes")
        try trial.check(buffer.isWrapped == !back.isEmpty, "isWrapped \(buffer.isWrapped)")
        try trial.check(!front.isEmpty || model.isEmpty, "nothing in front")
        try trial.check(buffer.searched == searched, "searched \(buffer.searched), not \(searched)")
    }
}

func isSame(_ memory: UnsafeRawBufferPointer, _ bytes: [UInt8]) -> Bool {
    bytes.withUnsafeBytes { isEqual(memory, $0[...]) }
}

/// Compares with memcmp(3): a loop over the elements takes minutes in a debug build.
func isEqual(_ one: UnsafeRawBufferPointer, _ other: Slice<UnsafeRawBufferPointer>) -> Bool {
    let other = UnsafeRawBufferPointer(rebasing: other)
    guard one.count == other.count else { return false }
    guard let first = one.baseAddress, let second = other.baseAddress else { return one.isEmpty }
    return memcmp(first, second, one.count) == 0
}
