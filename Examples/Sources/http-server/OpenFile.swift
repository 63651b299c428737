// A file that is to be sent: what is known of it, and which part.
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
    /// The part that is to be sent.
    var offset = 0
    var remaining: Int

    /// Takes over `descriptor`; throws EISDIR for whatever is no regular file.
    init(descriptor: CInt, type: StaticString) throws(FileError) {
        self.descriptor = descriptor
        self.type = type
        var status = stat()
        let code = fstat(descriptor, &status) == 0 ? EISDIR : errno
        guard code == EISDIR, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw FileError(code: code)
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

    func send(to connection: Connection) throws {
        try connection.sendFile(descriptor, offset: offset, count: remaining)
    }
}
