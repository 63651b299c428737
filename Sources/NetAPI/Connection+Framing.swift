internal import CMillraceLinux
internal import Glibc
internal import MillraceEventLoop

/// Lines, delimiters and frames, over input that arrives in pieces of any size. Call these methods
/// on the connection's loop. Returned bytes are valid until the callback returns.
extension Connection {
    /// Consumes and returns the bytes through `delimiter`, which is included; nil if it has not
    /// arrived. The next call goes on where this search ended. Throws `.frameTooLong` when the
    /// delimiter is not within `limit` bytes.
    @_lifetime(borrow self)
    public func next(
        through delimiter: StaticString, limit: Int = 65_536
    ) throws(NetError) -> RawSpan? {
        guard takesMore else { return nil }
        let size = delimiter.utf8CodeUnitCount
        guard size > 0,
            let end = find(delimiter.utf8Start, size, key: Self.key(of: delimiter))
        else {
            if buffered >= limit { throw .frameTooLong(buffered, limit) }
            return nil
        }
        if end > limit { throw .frameTooLong(end, limit) }
        return next(end)
    }

    /// Consumes and returns one line without its LF or CR LF; nil if the line is not complete.
    /// Throws `.frameTooLong` when it has more than `limit` bytes.
    @_lifetime(borrow self)
    public func nextLine(limit: Int = 65_536) throws(NetError) -> RawSpan? {
        guard takesMore else { return nil }
        var newline: UInt8 = 0x0A
        guard let end = find(&newline, 1, key: 1) else {
            // One more byte may be the CR.
            if buffered - 1 > limit { throw .frameTooLong(buffered, limit) }
            return nil
        }
        let piece = withCore { $0.peek(record, end) } ?? nil
        guard let line = piece else { return nil }
        let length = end >= 2 && line[end - 2] == 0x0D ? end - 2 : end - 1
        if length > limit { throw .frameTooLong(length, limit) }
        discard(end)
        return lend(UnsafeRawBufferPointer(rebasing: line.prefix(length)))
    }

    /// Consumes one frame: `skipped` bytes, an unsigned length, then that many bytes. Returns only
    /// the last part; nil if the frame is not complete. Throws `.frameTooLong` when the length
    /// exceeds `limit`. There is no default limit, because the peer chooses the length. A frame
    /// within `limit` is received whole even above `Options.Limits.inboundBytes`.
    @_lifetime(borrow self)
    public func nextFrame<Length: FixedWidthInteger & UnsignedInteger>(
        after skipped: Int = 0, length: Length.Type, _ order: ByteOrder = .big, limit: Int
    ) throws(NetError) -> RawSpan? {
        guard takesMore else { return nil }
        let (header, isTooFar) = skipped.addingReportingOverflow(MemoryLayout<Length>.size)
        guard !isTooFar else { throw .frameTooLong(skipped, limit) }
        guard let announced: Length = peekInteger(order, at: skipped) else { return nil }
        // The second bound is for a limit so large that header and frame together exceed Int.max.
        guard announced <= limit, announced <= Int.max - header else {
            throw .frameTooLong(Int(clamping: announced), limit)
        }
        let total = header + Int(announced)
        guard let frame = withCore({ $0.take(record, total) }) ?? nil else {
            _ = withCore { $0.expectInput(record, total) }
            return nil
        }
        return lend(UnsafeRawBufferPointer(rebasing: frame.dropFirst(header)))
    }

    /// Returns the low half of a literal's address, in which the literals of one binary differ.
    private static func key(of delimiter: StaticString) -> UInt32 {
        UInt32(truncatingIfNeeded: UInt(bitPattern: delimiter.utf8Start))
    }

    /// Returns the number of unread bytes through the first occurrence, and records how far a
    /// search without success has come. `key` identifies the delimiter, since a search for one
    /// delimiter proves nothing about another.
    private func find(_ delimiter: UnsafePointer<UInt8>, _ size: Int, key: UInt32) -> Int? {
        guard isCurrent, buffered >= size else { return nil }
        let isAgain = record.inbound.searchKey == key
        let searched = isAgain ? record.inbound.searched : 0
        guard let unread = withCore({ $0.peek(record, buffered) }) ?? nil,
            let base = unread.baseAddress
        else { return nil }
        // The delimiter may begin in the last bytes of the previous search.
        let start = max(0, searched - (size - 1))
        let found =
            size == 1
            ? UnsafeRawPointer(memchr(base + start, CInt(delimiter[0]), unread.count - start))
            : mr_memmem(base + start, UInt(unread.count - start), delimiter, UInt(size))
        guard let found else {
            record.inbound.searched = unread.count
            record.inbound.searchKey = key
            return nil
        }
        record.inbound.searched = 0
        return found - base + size
    }
}

// MARK: Copies of lent bytes, and comparisons

extension String {
    /// Decodes lent bytes as UTF-8; invalid bytes become U+FFFD.
    public init(decoding bytes: RawSpan) {
        self = bytes.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }
}

extension RangeReplaceableCollection<UInt8> {
    /// Copies lent bytes into an array, or into Foundation's `Data`.
    @inlinable
    public init(copying bytes: RawSpan) { self = bytes.withUnsafeBytes { Self($0) } }
}

extension RawSpan {
    /// Returns the integer that begins `offset` bytes in; nil if it is not complete.
    public func integer<T: FixedWidthInteger>(
        _ order: ByteOrder = .big, at offset: Int = 0, as type: T.Type = T.self
    ) -> T? {
        let size = MemoryLayout<T>.size
        guard offset >= 0, size <= byteCount, offset <= byteCount - size else { return nil }
        let value = self.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: T.self) }
        return order == .big ? T(bigEndian: value) : T(littleEndian: value)
    }

    /// Returns whether these are exactly the bytes of `text`.
    public func equals(_ text: StaticString) -> Bool {
        byteCount == text.utf8CodeUnitCount && starts(with: text)
    }

    /// Returns whether the first bytes are those of `text`.
    public func starts(with text: StaticString) -> Bool {
        let size = text.utf8CodeUnitCount
        guard byteCount >= size else { return false }
        guard size > 0 else { return true }
        return self.withUnsafeBytes { memcmp($0.baseAddress!, text.utf8Start, size) == 0 }
    }
}
