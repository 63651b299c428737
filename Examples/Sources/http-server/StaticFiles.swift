// Finds files under one folder, and chooses the part of a file that a request gets.
import Glibc
import HTTPCodec

/// The reason, as a value of errno, for which a file cannot be opened.
struct FileError: Error {
    let code: CInt

    /// The status for this error. Missing and forbidden files look alike to a client. A lack of
    /// descriptors or memory, or a disk that fails, must not be reported as a missing file.
    var status: Status {
        switch code {
        case ENOENT, ENOTDIR, EISDIR, ELOOP, ENAMETOOLONG, EACCES, EPERM, ENXIO, ENODEV: .notFound
        default: .internalError
        }
    }
}

final class StaticFiles: Sendable {
    private let root: CInt

    struct NoFolder: Error, CustomStringConvertible {
        let description: String
    }

    init(root path: String) throws {
        root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard root >= 0 else {
            throw NoFolder(description: "--root \(path): \(String(cString: strerror(errno)))")
        }
    }

    deinit { close(root) }

    /// Returns the file for a request, or a status or a redirection if it cannot be served.
    func reply(_ head: RequestHead, _ bytes: UnsafeRawBufferPointer) -> Reply {
        let path = head.path(in: bytes)
        let isFolder = path.last == 0x2F
        guard var names = FilePath.names(in: path) else { return .status(.badRequest) }
        if isFolder { names.append(Array("index.html".utf8)) }
        do throws(FileError) {
            let file = try OpenFile(
                descriptor: find(names), type: Self.type(of: names.last ?? []))
            decide(file, head, bytes)
            return .file(file)
        } catch {
            guard error.code == EISDIR, !isFolder else { return .status(error.status) }
            // Relative references in a page begin after the last slash, so a folder's path must end
            // with one.
            let query = head.target.of(bytes).drop { $0 != 0x3F }
            return .moved(FilePath.location(of: names) + query)
        }
    }

    /// The current time in seconds since 1970.
    static var now: Int {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME_COARSE, &now)
        return now.tv_sec
    }

    private static func date(
        _ value: Slice, _ bytes: UnsafeRawBufferPointer
    ) -> Int? {
        HTTPDate.parse(value.of(bytes), now: now)
    }

    /// Opens one folder after the other, none through a symbolic link. No file outside the root can
    /// be reached, even if a folder is renamed meanwhile.
    private func find(_ names: [[UInt8]]) throws(FileError) -> CInt {
        guard !names.isEmpty else { throw FileError(code: ENOENT) }
        var folder = root
        for (index, name) in names.enumerated() {
            let isLast = index == names.count - 1
            // Without O_NONBLOCK, a FIFO without a writer would block the loop.
            let flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | (isLast ? O_NONBLOCK : O_DIRECTORY)
            let next = (name + [0]).withUnsafeBytes { buffer in
                openat(folder, buffer.assumingMemoryBound(to: CChar.self).baseAddress!, flags)
            }
            let code = errno
            if folder != root { close(folder) }
            guard next >= 0 else { throw FileError(code: code) }
            folder = next
        }
        return folder
    }

    /// Applies conditions and ranges in the order of RFC 9110, 13.2.2.
    private func decide(_ file: OpenFile, _ head: RequestHead, _ bytes: UnsafeRawBufferPointer) {
        guard isAsExpected(file, head, bytes) else { return leaveOut(file, .preconditionFailed) }
        if !head.ifNoneMatch.isEmpty {
            let isNamed = file.tag.withUnsafeBytes {
                entityTags(head.ifNoneMatch.of(bytes), name: $0)
            }
            if isNamed { return leaveOut(file, .notModified) }
        } else if !head.ifModifiedSince.isEmpty,
            let since = Self.date(head.ifModifiedSince, bytes), file.modified <= since
        {
            return leaveOut(file, .notModified)
        }
        guard head.method == .get, !head.range.isEmpty else { return }
        if !head.ifRange.isEmpty {
            guard
                head.ifRange.of(bytes).elementsEqual(file.tag)
                    || Self.date(head.ifRange, bytes) == file.modified
            else { return }
        }
        switch ByteRange(head.range.of(bytes), size: file.size) {
        case .whole: break
        case .part(let range):
            file.status = .partialContent
            file.select(range)
        case .unsatisfiable: leaveOut(file, .rangeNotSatisfiable)
        }
    }

    /// Returns whether the file fulfils If-Match or If-Unmodified-Since, with which a client
    /// continues an earlier response.
    private func isAsExpected(
        _ file: OpenFile, _ head: RequestHead, _ bytes: UnsafeRawBufferPointer
    ) -> Bool {
        if !head.ifMatch.isEmpty {
            return file.tag.withUnsafeBytes {
                entityTags(head.ifMatch.of(bytes), name: $0, strongly: true)
            }
        }
        // A value that is no date is no condition.
        guard !head.ifUnmodifiedSince.isEmpty,
            let since = Self.date(head.ifUnmodifiedSince, bytes)
        else { return true }
        return file.modified <= since
    }

    private func leaveOut(_ file: OpenFile, _ status: Status) {
        file.status = status
        file.select(0..<0)
    }

    private static func type(of name: [UInt8]) -> StaticString {
        let ending = name.lastIndex(of: 0x2E).map { name[($0 + 1)...] } ?? []
        return switch String(decoding: ending, as: UTF8.self).lowercased() {
        case "html", "htm": "text/html; charset=utf-8"
        case "css": "text/css"
        case "js", "mjs": "text/javascript"
        case "json": "application/json"
        case "txt", "md": "text/plain; charset=utf-8"
        case "svg": "image/svg+xml"
        case "png": "image/png"
        case "jpg", "jpeg": "image/jpeg"
        case "gif": "image/gif"
        case "webp": "image/webp"
        case "ico": "image/x-icon"
        case "wasm": "application/wasm"
        case "pdf": "application/pdf"
        default: "application/octet-stream"
        }
    }
}
