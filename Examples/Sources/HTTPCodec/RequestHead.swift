// What a request says before its body. Texts are slices of the bytes that were parsed, so that a
// head costs no allocation and may be dropped with them.

public enum Method: UInt8, Sendable {
    case get
    case head
    case post
    /// One that is defined, but not served here: 405.
    case other
}

/// How a body is delimited.
public enum BodyFraming: Sendable, Equatable {
    case none
    case length(Int)
    case chunked
}

public struct RequestHead: Sendable, Equatable {
    public internal(set) var method = Method.get
    /// Path and query. The path is empty if the target was `http://host`; see `path(in:)`.
    public internal(set) var target = Slice()
    /// The target without its query.
    @usableFromInline var path = Slice()
    /// HTTP/1.1 or a later 1.x; otherwise 1.0.
    public internal(set) var isVersion11 = true
    public internal(set) var keepsAlive = true
    /// The client waits for `100 Continue` before it sends the body.
    public internal(set) var expectsContinue = false
    public internal(set) var body = BodyFraming.none
    // Empty where the field is absent. Of one on several lines, all from the first value to the
    // last, with the lines between.
    public internal(set) var ifMatch = Slice()
    public internal(set) var ifUnmodifiedSince = Slice()
    public internal(set) var ifNoneMatch = Slice()
    public internal(set) var ifModifiedSince = Slice()
    public internal(set) var ifRange = Slice()
    public internal(set) var range = Slice()

    /// The target without its query, out of the bytes that the parser was given. An empty path is
    /// `/` (RFC 9112, 3.2.2).
    @inlinable
    public func path(in bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        guard !path.isEmpty else {
            let root: StaticString = "/"
            return UnsafeRawBufferPointer(start: root.utf8Start, count: 1)
        }
        return path.of(bytes)
    }
}

/// What a client may make the server read and hold. In bytes, but for `fields`.
public struct RequestLimits: Sendable {
    public var requestLine = 8192
    public var field = 8192
    public var fields = 100
    public var head = 32 << 10
    public var body = 1 << 20

    public init() {}
}
