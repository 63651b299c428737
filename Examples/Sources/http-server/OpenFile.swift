// A file being sent: opened, and read in pieces as the peer takes them. The only place that moves a
// file's bytes.
import Glibc
import HTTPCodec
import NetAPI

final class OpenFile {
    private let descriptor: CInt
    let size: Int
    let modified: Int
    /// In quotes. Changes whenever size or time do.
    let tag: [UInt8]
    /// As in Last-Modified.
    let date: [UInt8]
    let type: StaticString
    var status = Status.ok
    /// The part that is still to be sent.
    var offset = 0
    var remaining: Int

    private static let pieceBytes = 64 << 10

    /// Takes over `descriptor`; nil if it is no regular file.
    init?(descriptor: CInt, type: StaticString) {
        self.descriptor = descriptor
        self.type = type
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            return nil
        }
        size = status.st_size
        remaining = size
        modified = status.st_mtim.tv_sec
        let time = UInt64(bitPattern: Int64(modified)) &* 1_000_000_000
        let stamp = time &+ UInt64(status.st_mtim.tv_nsec)
        tag = Array("\"\(String(stamp, radix: 16))-\(String(size, radix: 16))\"".utf8)
        let seconds = modified
        date = [UInt8](unsafeUninitializedCapacity: HTTPDate.byteCount) { buffer, count in
            HTTPDate.write(seconds, into: UnsafeMutableRawBufferPointer(buffer))
            count = HTTPDate.byteCount
        }
    }

    deinit { close(descriptor) }

    func select(_ range: Range<Int>) {
        offset = range.lowerBound
        remaining = range.count
    }

    /// Writes as much as the connection holds; true when all is written. Reading a file may block
    /// for the disk. Throws if the file became shorter than what was promised.
    func pump(_ connection: Connection) throws -> Bool {
        while remaining > 0, connection.isWritable {
            let count = min(remaining, Self.pieceBytes)
            var got = 0
            connection.write(reserving: count) { output in
                output.withUnsafeMutableBytes { room, filled in
                    got = pread(descriptor, room.baseAddress, count, off_t(offset))
                    filled = max(0, got)
                }
            }
            guard got > 0 else { throw Truncated() }
            offset += got
            remaining -= got
        }
        return remaining == 0
    }

    struct Truncated: Error {}
}
