/// Writes replies in RESP2 or RESP3 into its own memory, which is reused. A server sends all
/// replies of one turn with a single write.
///
/// Data stop at the limit: `hasOverflowed` becomes true, and all further output is dropped until
/// `replace(from:_:)` or `removeAll()`. Numbers, errors and other replies that are always short
/// have room above it too: in a transaction they report changes that have been made.
public final class ReplyWriter {
    /// The initial capacity in bytes. Each connection has a writer, and most connections are idle.
    public static let initialBytes = 512
    private static let keptBytes = 64 << 10
    /// The smallest limit, in bytes.
    public static let smallestLimit = 64 << 10

    /// The version of the protocol, 2 or 3, that the peer chose with HELLO.
    @exclusivity(unchecked) public var version = 2
    @exclusivity(unchecked) private var memory: UnsafeMutableRawBufferPointer
    /// The end of the memory, or the limit if that comes first. Data end there.
    @exclusivity(unchecked) private var dataEnd: Int
    /// The number of bytes written. After an overflow it is above every limit, so that the next
    /// write finds no room either.
    @exclusivity(unchecked) private var used = 0
    private let limit: Int

    /// Creates a writer of at most `limit` bytes, which is at least `smallestLimit`.
    public init(capacity: Int = initialBytes, limit: Int = 1 << 40) {
        precondition(limit >= Self.smallestLimit && limit >= capacity)
        self.limit = limit
        memory = .allocate(byteCount: capacity, alignment: 16)
        dataEnd = capacity
    }

    deinit { memory.deallocate() }

    /// The number of bytes written; meaningless after an overflow. It is not a stored property,
    /// because another module would check each access to that.
    public var count: Int { used }

    /// The number of bytes of data that can still be written.
    public var room: Int { max(0, limit - used) }

    /// Whether the output is incomplete because it went above the limit.
    public var hasOverflowed: Bool { used == .max }

    /// Replaces all output after the first `start` bytes by an error.
    public func replace(from start: Int, _ text: String) {
        used = start
        error(text)
    }

    /// Drops all output, like a write for which there is no room.
    public func overflow() { used = .max }

    /// The bytes written. Valid until the next call, and not after an overflow.
    public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: memory[..<used]) }

    /// Removes all output, and frees memory that one large reply needed.
    public func removeAll() {
        used = 0
        guard memory.count > Self.keptBytes else { return }
        memory.deallocate()
        memory = .allocate(byteCount: Self.initialBytes, alignment: 16)
        dataEnd = Self.initialBytes
    }

    // MARK: Replies

    /// Writes a simple string, which must not contain line ends.
    public func simple(_ text: StaticString) {
        guard reserveShort(text.utf8CodeUnitCount + 3) else { return }
        put(UInt8(ascii: "+"))
        put(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
        putLineEnd()
    }

    /// Like `simple(_:)`, but for text that is made at run time.
    public func simpleText(_ text: String) { line(UInt8(ascii: "+"), text) }

    /// Like `simple("OK")`, which is the most common call, but with a single store.
    public func ok() {
        let line: UInt64 = 0x0A0D_4B4F_2B
        guard reserveShort(8) else { return }
        memory.storeBytes(of: line.littleEndian, toByteOffset: used, as: UInt64.self)
        used &+= 5
    }

    /// Writes an error, whose text begins with its code. Line ends become blanks, like in Redis,
    /// and so do other control characters: an error is always one line.
    public func error(_ text: String) { line(UInt8(ascii: "-"), text) }

    private func line(_ mark: UInt8, _ text: String) {
        guard reserveShort(text.utf8.count + 3) else { return }
        put(mark)
        for byte in text.utf8 { put(byte < 0x20 || byte == 0x7F ? 0x20 : byte) }
        putLineEnd()
    }

    public func integer(_ value: Int) { header(UInt8(ascii: ":"), value) }

    public func bulk(_ bytes: UnsafeRawBufferPointer) {
        guard reserve(bytes.count + Self.headerBytes + 2) else { return }
        putBulk(bytes)
    }

    public func bulk(_ bytes: [UInt8]) { bytes.withUnsafeBytes { bulk($0) } }

    public func bulk(_ text: String) {
        var text = text
        text.withUTF8 { bulk(UnsafeRawBufferPointer($0)) }
    }

    /// Writes a number with a fraction from its digits; in RESP2 as a string.
    public func double(_ digits: UnsafeRawBufferPointer) {
        guard reserveShort(digits.count + Self.headerBytes + 2) else { return }
        guard version > 2 else { return putBulk(digits) }
        put(UInt8(ascii: ","))
        put(digits)
        putLineEnd()
    }

    /// Writes text that the client shows unchanged; in RESP2 as a string.
    public func verbatim(_ text: String) {
        guard version > 2 else { return bulk(text) }
        var text = "txt:" + text
        text.withUTF8 { bytes in
            guard reserve(bytes.count + Self.headerBytes + 2) else { return }
            putHeader(UInt8(ascii: "="), bytes.count)
            put(UnsafeRawBufferPointer(bytes))
            putLineEnd()
        }
    }

    /// Writes the reply for a missing value.
    public func null() { raw(version == 2 ? "$-1\r\n" : "_\r\n") }

    /// Writes the reply for a missing list.
    public func nullArray() { raw(version == 2 ? "*-1\r\n" : "_\r\n") }

    /// Writes the head of an array of `count` replies.
    public func array(_ count: Int) { header(UInt8(ascii: "*"), count) }

    /// Writes the head of a map of `count` pairs.
    public func map(_ count: Int) {
        version == 2 ? array(count * 2) : header(UInt8(ascii: "%"), count)
    }

    /// Writes the head of a set of `count` different replies.
    public func set(_ count: Int) { header(UInt8(ascii: version == 2 ? "*" : "~"), count) }

    /// Writes the head of a message of `count` elements that is no reply to a request.
    public func push(_ count: Int) { header(UInt8(ascii: version == 2 ? "*" : ">"), count) }

    // MARK: Bytes

    private func raw(_ text: StaticString) {
        guard reserveShort(text.utf8CodeUnitCount) else { return }
        put(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// The longest header in bytes: a mark, a sign, 19 digits, CR LF.
    private static let headerBytes = 23

    /// Writes a mark, decimal digits and a line end.
    private func header(_ mark: UInt8, _ value: Int) {
        guard reserveShort(Self.headerBytes) else { return }
        putHeader(mark, value)
    }

    @inline(__always)
    private func putHeader(_ mark: UInt8, _ value: Int) {
        guard 0...9 ~= value else { return putLongHeader(mark, value) }
        let line = 0x0A0D_3000 | UInt32(truncatingIfNeeded: value) << 8 | UInt32(mark)
        memory.storeBytes(of: line.littleEndian, toByteOffset: used, as: UInt32.self)
        used &+= 4
    }

    @inline(never)
    private func putLongHeader(_ mark: UInt8, _ value: Int) {
        put(mark)
        putDigits(value)
        putLineEnd()
    }

    private func putDigits(_ value: Int) {
        var rest = value.magnitude
        var digits = 1
        var power: UInt = 10
        while digits < 19, rest >= power {
            power &*= 10
            digits += 1
        }
        if value < 0 { put(UInt8(ascii: "-")) }
        for place in stride(from: used + digits - 1, through: used, by: -1) {
            memory[place] = UInt8(truncatingIfNeeded: rest % 10) + 0x30
            rest /= 10
        }
        used += digits
    }

    @inline(__always)
    private func put(_ byte: UInt8) {
        memory[used] = byte
        used &+= 1
    }

    @inline(__always)
    private func put(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress else { return }
        memory.baseAddress!.advanced(by: used).copyMemory(from: start, byteCount: bytes.count)
        used &+= bytes.count
    }

    @inline(__always)
    private func putLineEnd() {
        let end: UInt16 = 0x0A0D
        memory.storeBytes(of: end.littleEndian, toByteOffset: used, as: UInt16.self)
        used &+= 2
    }

    @inline(__always)
    private func putBulk(_ bytes: UnsafeRawBufferPointer) {
        putHeader(UInt8(ascii: "$"), bytes.count)
        put(bytes)
        putLineEnd()
    }

    /// Makes room for data; returns false if they would end above the limit.
    @inline(__always)
    private func reserve(_ more: Int) -> Bool { dataEnd &- used >= more || grow(more) }

    @inline(never)
    private func grow(_ more: Int) -> Bool {
        guard more <= limit - used else {
            overflow()
            return false
        }
        enlarge(more)
        return true
    }

    /// Makes room for a short reply, also above the limit; returns false only after an overflow.
    @inline(__always)
    private func reserveShort(_ more: Int) -> Bool {
        memory.count &- used >= more || growShort(more)
    }

    @inline(never)
    private func growShort(_ more: Int) -> Bool {
        guard !hasOverflowed else { return false }
        enlarge(more)
        return true
    }

    /// Doubles the memory, or adds a quarter above the limit: there too a transaction may have
    /// millions of short replies, and each enlargement copies all of them.
    private func enlarge(_ more: Int) {
        let size = min(memory.count * 2, max(limit, memory.count + memory.count / 4))
        let larger = LargeMemory.allocate(max(size, used + more))
        larger.copyMemory(from: bytes)
        memory.deallocate()
        memory = larger
        dataEnd = min(larger.count, limit)
    }
}
