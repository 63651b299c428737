// A file that is to be sent: what is known of it, and which part.
import Glibc
import HTTPCodec
import NetAPI

final class OpenFile {
    private let descriptor: CInt
    let size: Int
    /// In seconds, as near as a date can tell it, and never in the future (RFC 9110, 8.8.2.1).
    let modified: Int
    /// In quotes. Changes whenever size or time do.
    let tag: [UInt8]
    /// As in Last-Modified.
    let date: [UInt8]
    let type: StaticString
    var status = Status.ok
    /// The part that is to be sent.
    var offset = 0
    var remaining: Int

    /// Takes over `descriptor`; throws EISDIR for a folder, ENXIO for what else is no regular file.
    init(descriptor: CInt, type: StaticString) throws(FileError) {
        self.descriptor = descriptor
        self.type = type
        var status = stat()
        let code = fstat(descriptor, &status) == 0 ? 0 : errno
        let kind = status.st_mode & S_IFMT
        guard code == 0, kind == S_IFREG else {
            close(descriptor)
            throw FileError(code: code != 0 ? code : kind == S_IFDIR ? EISDIR : ENXIO)
        }
        // Whatever a disk says, down to the least number that there is.
        size = max(0, status.st_size)
        remaining = size
        modified = HTTPDate.clamped(min(status.st_mtim.tv_sec, StaticFiles.now))
        let numbers = [status.st_mtim.tv_sec, status.st_mtim.tv_nsec, size].map {
            String(UInt(bitPattern: $0), radix: 16)
        }
        tag = Array("\"\(numbers.joined(separator: "-"))\"".utf8)
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

    /// Whether a condition or a range has it answered without any of its bytes.
    var isLeftOut: Bool { status != .ok && status != .partialContent }

    func send(to connection: Connection) throws {
        try connection.sendFile(descriptor, offset: offset, count: remaining)
    }
}
