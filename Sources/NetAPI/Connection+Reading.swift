public import MillraceEventLoop

/// Reading, on the connection's loop. Returned spans are lent: they stay valid until the callback
/// returns, whichever methods it calls meanwhile.
extension Connection {
    /// The number of unread bytes.
    public var buffered: Int { isCurrent ? record.inbound.count : 0 }

    /// All unread bytes in one piece, lent. They stay unread.
    public var bytes: RawSpan {
        @_lifetime(borrow self)
        get { lend(withCore { $0.peek(record, record.inbound.count) } ?? nil) }
    }

    /// All unread bytes in at most two pieces, which are never copied together. They stay unread.
    public var readPair: ReadPair {
        @_lifetime(borrow self)
        get {
            guard isCurrent else { return ReadPair(head: lend(nil), tail: lend(nil)) }
            return ReadPair(
                head: lend(record.inbound.front), tail: lend(record.inbound.back))
        }
    }

    /// Returns the next `count` bytes and leaves them unread; nil if there are fewer.
    @_lifetime(borrow self)
    public func peek(_ count: Int) -> RawSpan? {
        guard let bytes = withCore({ $0.peek(record, count) }) ?? nil else { return nil }
        return lend(bytes)
    }

    /// Consumes and returns all unread bytes, possibly none.
    @_lifetime(borrow self)
    @inlinable @inline(__always)
    public func next() -> RawSpan { lend(withCore { $0.takeAll(record) }) }

    /// Consumes and returns `count` bytes; nil, with nothing consumed, if there are fewer.
    @_lifetime(borrow self)
    public func next(_ count: Int) -> RawSpan? {
        guard takesMore, let bytes = withCore({ $0.take(record, count) }) ?? nil else {
            return nil
        }
        return lend(bytes)
    }

    /// Drops up to `count` unread bytes and returns their number.
    @discardableResult
    public func discard(_ count: Int) -> Int {
        let amount = max(0, min(count, buffered))
        if amount > 0 { _ = withCore { $0.consume(record, amount) } }
        return amount
    }

    /// Drops all unread bytes and returns their number.
    @discardableResult
    public func discardAll() -> Int { discard(buffered) }

    /// Consumes as many bytes as fit into `span` and returns their number. Never blocks.
    public func read(into span: inout MutableRawSpan) -> Int {
        let amount = min(span.byteCount, buffered)
        guard amount > 0 else { return 0 }
        span.withUnsafeMutableBytes { copy(into: $0, amount) }
        return discard(amount)
    }

    /// Consumes all unread bytes and returns them as an array.
    public func readArray() -> [UInt8] {
        let amount = buffered
        guard amount > 0 else { return [] }
        let array = [UInt8](unsafeUninitializedCapacity: amount) { buffer, count in
            copy(into: UnsafeMutableRawBufferPointer(buffer), amount)
            count = amount
        }
        discard(amount)
        return array
    }

    /// Calls `body` with all unread bytes as one pointer, for C parsers. The pointer must not leave
    /// `body`. The bytes stay unread.
    public func withUnsafeBytes<R>(
        _ body: (UnsafeRawBufferPointer) throws -> R
    ) rethrows -> R {
        let bytes = withCore { $0.peek(record, record.inbound.count) } ?? nil
        return try body(bytes ?? UnsafeRawBufferPointer(start: nil, count: 0))
    }

    // MARK: Integers

    /// Returns the integer that begins `offset` bytes ahead, and leaves it unread; nil if it is not
    /// complete.
    public func peekInteger<T: FixedWidthInteger>(
        _ order: ByteOrder = .big, at offset: Int = 0, as type: T.Type = T.self
    ) -> T? {
        let size = MemoryLayout<T>.size
        guard offset >= 0, buffered >= size, offset <= buffered - size else { return nil }
        var value = T.zero
        Swift.withUnsafeMutableBytes(of: &value) { copy(into: $0, size, from: offset) }
        return order == .big ? T(bigEndian: value) : T(littleEndian: value)
    }

    /// Consumes and returns an integer; nil, with nothing consumed, if it is not complete.
    public func nextInteger<T: FixedWidthInteger>(
        _ order: ByteOrder = .big, as type: T.Type = T.self
    ) -> T? {
        guard takesMore, let value: T = peekInteger(order) else { return nil }
        discard(MemoryLayout<T>.size)
        return value
    }

    /// Indicates that requests may be consumed. False at the limit of unfinished jobs: the methods
    /// that consume a request then return nil, so that a loop over requests ends.
    var takesMore: Bool { isCurrent && !record.pauses.contains(.work) }

    // MARK: Lending

    @_lifetime(borrow self)
    @inlinable @inline(__always)
    func lend(_ bytes: UnsafeRawBufferPointer?) -> RawSpan {
        let span = RawSpan(_unsafeBytes: bytes ?? UnsafeRawBufferPointer(start: nil, count: 0))
        // The loop owns the memory and keeps it until the callback has returned.
        return _overrideLifetime(span, borrowing: self)
    }

    /// Copies `amount` unread bytes, whose presence the caller has checked.
    private func copy(
        into target: UnsafeMutableRawBufferPointer, _ amount: Int, from offset: Int = 0
    ) {
        let (front, back) = (record.inbound.front, record.inbound.back)
        let fromFront = max(0, min(amount, front.count - offset))
        if fromFront > 0 {
            target.copyMemory(from: .init(rebasing: front[offset..<offset + fromFront]))
        }
        guard fromFront < amount else { return }
        let start = max(0, offset - front.count)
        UnsafeMutableRawBufferPointer(rebasing: target[fromFront...])
            .copyMemory(from: .init(rebasing: back[start..<start + amount - fromFront]))
    }
}

/// The unread bytes in two pieces, because a ring buffer wraps.
public struct ReadPair: ~Escapable {
    /// The older bytes.
    public let head: RawSpan
    /// The newer bytes, often none.
    public let tail: RawSpan

    @_lifetime(copy head, copy tail)
    init(head: RawSpan, tail: RawSpan) {
        self.head = head
        self.tail = tail
    }
}

/// The order of an integer's bytes.
public enum ByteOrder: Sendable {
    /// Most significant byte first: network order.
    case big
    /// Least significant byte first.
    case little
}
