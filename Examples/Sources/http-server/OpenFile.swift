// An open file for a response: its properties, and the part to send.
import Glibc
import HTTPCodec
import NetAPI

final class OpenFile {
    /// The descriptor; below 0 after it was passed to the connection.
    private var descriptor: CInt
    let size: Int
    /// The time of the last change in seconds since 1970. It is limited to times that a date can
    /// show and never in the future (RFC 9110, 8.8.2.1).
    let modified: Int
    /// The entity tag with its quotes. It changes whenever the size or the time changes.
    let tag: [UInt8]
    /// The date for Last-Modified.
    let date: [UInt8]
    let type: StaticString
    var status = Status.ok
    /// The start of the part to send; `remaining` is its length.
    var offset = 0
    var remaining: Int

    /// Returns the error code for a file that cannot be sent, or nil.
    private static func fault(of status: stat) -> CInt? {
        switch status.st_mode & S_IFMT {
        case S_IFREG: status.st_size <= 1 << 60 ? nil : EFBIG
        case S_IFDIR: EISDIR
        default: ENXIO
        }
    }

    /// Takes ownership of `descriptor`. Throws EISDIR for a folder, ENXIO for other files that are
    /// not regular, and EFBIG for a size above 2^60.
    init(descriptor: CInt, type: StaticString) throws(FileError) {
        self.descriptor = descriptor
        self.type = type
        var status = stat()
        let code = fstat(descriptor, &status) == 0 ? 0 : errno
        if let code = code == 0 ? Self.fault(of: status) : code {
            close(descriptor)
            throw FileError(code: code)
        }
        // A disk may report any size, even a negative one.
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

    deinit { if descriptor >= 0 { close(descriptor) } }

    func select(_ range: Range<Int>) {
        offset = range.lowerBound
        remaining = range.count
    }

    /// Whether a condition or a range leaves the file's bytes out of the response.
    var isLeftOut: Bool { status != .ok && status != .partialContent }

    func send(to connection: Connection) throws {
        // The connection gets this descriptor. A second one may exceed the limit of descriptors
        // (EMFILE) after a head with status 200.
        let owned = descriptor
        descriptor = -1
        try connection.sendFile(takingOver: owned, offset: offset, count: remaining)
    }
}
