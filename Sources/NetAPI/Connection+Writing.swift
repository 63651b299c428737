public import MillraceEventLoop

/// Writing, on the connection's loop. Bytes are copied once, gathered, and sent together when the
/// callback returns. A piece of 16 KiB or more with nothing before it goes to the socket at once,
/// without a copy. Writing never blocks and does nothing after a close. `outboundBuffered` and
/// `isWritable` show how much is waiting.
///
/// On a `udp://` connection, all bytes that a callback or a closure writes until it returns or
/// calls `flush()` are one datagram. An empty write alone is an empty datagram.
extension Connection {
    /// Writes lent bytes, of this connection or of another one.
    @inlinable
    public func write(_ bytes: RawSpan) {
        bytes.withUnsafeBytes { write($0) }
    }

    /// Writes the bytes of an array.
    public func write(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { write($0) }
    }

    /// Writes the bytes of another collection, such as a slice or Foundation's `Data`.
    @inlinable
    public func write(_ bytes: some Collection<UInt8>) {
        let isWritten: Void? = bytes.withContiguousStorageIfAvailable {
            write(UnsafeRawBufferPointer($0))
        }
        if isWritten == nil { write(Array(bytes)) }
    }

    /// Writes text as UTF-8.
    public func write(_ text: String) {
        var text = text
        text.withUTF8 { write(UnsafeRawBufferPointer($0)) }
    }

    /// Writes text as UTF-8.
    @_disfavoredOverload  // Text of an inferred type, as from a closure, is a String.
    public func write(_ text: Substring) {
        var text = text
        text.withUTF8 { write(UnsafeRawBufferPointer($0)) }
    }

    /// Writes the bytes behind a pointer, which is not used after this returns.
    @inlinable
    public func write(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress else { return writeNothing() }
        _ = withCore { $0.write(record, start, bytes.count) }
    }

    @usableFromInline
    func writeNothing() {
        _ = withCore { $0.writeNothing(record) }
    }

    /// Writes several pieces, in order.
    @_disfavoredOverload  // `write([])` writes no bytes.
    public func write(_ pieces: [[UInt8]]) {
        if pieces.isEmpty { writeNothing() }
        for piece in pieces { write(piece) }
    }

    /// Writes the bytes of an integer.
    public func write<T: FixedWidthInteger>(integer: T, _ order: ByteOrder = .big) {
        let ordered = order == .big ? integer.bigEndian : integer.littleEndian
        Swift.withUnsafeBytes(of: ordered) { write($0) }
    }

    /// Writes decimal digits, without making a String.
    public func write(decimal value: Int) {
        // 19 digits and a sign hold every Int.
        withUnsafeTemporaryAllocation(byteCount: 20, alignment: 1) { buffer in
            var rest = value.magnitude
            var start = buffer.count
            repeat {
                start -= 1
                buffer[start] = UInt8(truncatingIfNeeded: rest % 10) + 0x30
                rest /= 10
            } while rest > 0
            if value < 0 {
                start -= 1
                buffer[start] = 0x2D
            }
            write(UnsafeRawBufferPointer(rebasing: buffer[start...]))
        }
    }

    /// Lets `fill` write straight into the outbound buffer, which has room for `capacity` bytes. If
    /// `fill` throws, nothing is written and the error is rethrown. A capacity above
    /// `Options.Limits.outboundBytes` (or 64 KiB, if that is more), or above 4 GiB, resets the
    /// connection with `.outboundOverflow`. Then, and after a close, `fill` does not run. `fill`
    /// must not write to or flush this connection by other calls.
    public func write<E: Error>(
        reserving capacity: Int, _ fill: (inout OutputRawSpan) throws(E) -> Void
    ) throws(E) {
        precondition(capacity >= 0, "a negative capacity")
        guard let core, let room = core.reserve(record, capacity) else { return }
        var count = 0
        defer { core.commit(record, count) }
        let part = UnsafeMutableRawBufferPointer(rebasing: room.prefix(capacity))
        var output = OutputRawSpan(buffer: part, initializedCount: 0)
        try fill(&output)
        count = output.finalize(for: part)
    }

    /// Writes a length, then the bytes: the counterpart of `nextFrame`. The length must fit its
    /// type.
    public func writeFrame<L: FixedWidthInteger & UnsignedInteger>(
        _ bytes: RawSpan, length: L.Type, _ order: ByteOrder = .big
    ) {
        write(integer: L(bytes.byteCount), order)
        write(bytes)
    }

    /// Sends the gathered bytes now instead of when the callback returns.
    public func flush() {
        _ = withCore { $0.flushNow(record) }
    }

    /// The number of bytes written but not yet accepted by the kernel. An empty datagram counts as
    /// one. The marks and the limit count 256 more for each datagram.
    public var outboundBuffered: Int {
        isCurrent ? record.outbound.count + (withCore { $0.sealedCount(record) } ?? 0) : 0
    }

    /// Indicates whether the handler should write more: false above
    /// `Options.Limits.outboundHighMark`, until `onWritable`; and after a close.
    public var isWritable: Bool { isCurrent && record.isWritable }
}
