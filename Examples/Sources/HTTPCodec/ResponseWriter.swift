// Writes the heads of responses and short bodies, one after the other, into memory that is
// allocated once and reused.

public struct ResponseWriter: ~Copyable {
    private let room: UnsafeMutableRawBufferPointer
    /// The number of bytes written since `clear`.
    public private(set) var count = 0

    /// Allocates `capacity` bytes, which must hold all output between two calls of `clear`.
    public init(capacity: Int) {
        room = .allocate(byteCount: capacity, alignment: 8)
    }

    deinit { room.deallocate() }

    /// The bytes written since `clear`. Valid until the next call.
    public var bytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(room)[..<count])
    }

    public mutating func clear() { count = 0 }

    /// Writes the status line, and the fields Server and Date, which every response has.
    public mutating func begin(_ status: Status, date: UnsafeRawBufferPointer) {
        append("HTTP/1.1 ")
        append(status.line)
        append("\r\nServer: Millrace\r\nDate: ")
        append(date)
        append("\r\n")
    }

    /// Writes a whole field.
    public mutating func field(_ name: StaticString, _ value: StaticString) {
        append(name)
        append(": ")
        append(value)
        append("\r\n")
    }

    public mutating func field(_ name: StaticString, _ value: UnsafeRawBufferPointer) {
        append(name)
        append(": ")
        append(value)
        append("\r\n")
    }

    public mutating func contentLength(_ length: Int) {
        append("Content-Length: ")
        append(decimal: length)
        append("\r\n")
    }

    /// Writes the empty line after the fields.
    public mutating func endHead() { append("\r\n") }

    public mutating func append(_ text: StaticString) {
        append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    public mutating func append(_ bytes: UnsafeRawBufferPointer) {
        precondition(bytes.count <= room.count - count, "a response head beyond its capacity")
        UnsafeMutableRawBufferPointer(rebasing: room[count...]).copyMemory(from: bytes)
        count += bytes.count
    }

    public mutating func append(decimal value: Int) {
        precondition(value >= 0, "a negative length")
        withUnsafeTemporaryAllocation(byteCount: 20, alignment: 1) { digits in
            var (rest, start) = (value, digits.count)
            repeat {
                start -= 1
                digits[start] = UInt8(0x30 + rest % 10)
                rest /= 10
            } while rest > 0
            append(UnsafeRawBufferPointer(rebasing: digits[start...]))
        }
    }
}
