// The bytes that streams carry. They are a function of a key and the offset, so that each wrong,
// lost or doubled byte is detected.
import Glibc

/// A table that is read from a place that the key determines. Its period is a prime, so that the
/// loss of a power of two of bytes is detected.
enum Pattern {
    static let period = 65_521
    /// The length of the longest piece, in bytes.
    static let most = 1 << 20

    // The table is written once, before the first thread starts, and only read after that.
    nonisolated(unsafe) private static let table: UnsafeRawBufferPointer = {
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: period + most, alignment: 16)
        var dice = Dice(42)
        for index in 0..<period { bytes[index] = UInt8(truncatingIfNeeded: dice.next()) }
        for index in period..<bytes.count { bytes[index] = bytes[index - period] }
        return UnsafeRawBufferPointer(bytes)
    }()

    /// The table as a file, for sendFile.
    static let file: CInt = {
        var name = Array("\(temporaryFolder)/stress-pattern-XXXXXX".utf8CString)
        let descriptor = mkstemp(&name)
        precondition(descriptor >= 0, "no file for the pattern can be had")
        unlink(name)
        var written = 0
        while written < table.count {
            let count = write(descriptor, table.baseAddress! + written, table.count - written)
            precondition(count > 0, "the file does not take the pattern")
            written += count
        }
        return descriptor
    }()

    static func phase(_ key: UInt64, _ offset: Int) -> Int {
        Int((key &+ UInt64(offset)) % UInt64(period))
    }

    static func bytes(_ key: UInt64, at offset: Int, count: Int) -> UnsafeRawBufferPointer {
        let start = phase(key, offset)
        return UnsafeRawBufferPointer(rebasing: table[start..<start + count])
    }

    /// Returns the offset of the first wrong byte; nil if all bytes are right.
    static func firstWrong(_ bytes: UnsafeRawBufferPointer, _ key: UInt64, at offset: Int) -> Int? {
        var done = 0
        while done < bytes.count {
            let count = min(most, bytes.count - done)
            let expected = Self.bytes(key, at: offset + done, count: count)
            if memcmp(bytes.baseAddress! + done, expected.baseAddress!, count) != 0 {
                let wrong = (0..<count).first { bytes[done + $0] != expected[$0] } ?? 0
                return offset + done + wrong
            }
            done += count
        }
        return nil
    }
}

/// The folder for temporary files: in memory, unless TMPDIR names another one.
let temporaryFolder = getenv("TMPDIR").map { String(cString: $0) } ?? "/dev/shm"
