// The head of a request: its request line and header fields. Texts are slices of the parsed bytes,
// so a head needs no allocation and may be dropped together with the bytes.

public enum Method: UInt8, Sendable {
    case get
    case head
    case post
    /// A method that is defined but not served here, so the status is 405.
    case other
}

/// The framing that determines the end of a body.
public enum BodyFraming: Sendable, Equatable {
    case none
    case length(Int)
    case chunked
}

public struct RequestHead: Sendable, Equatable {
    public internal(set) var method = Method.get
    /// The path and the query. The path is empty if the target was `http://host`; see `path(in:)`.
    public internal(set) var target = Slice()
    /// The target without its query.
    @usableFromInline var path = Slice()
    /// Whether the version is HTTP/1.1 or a later 1.x; otherwise it is 1.0.
    public internal(set) var isVersion11 = true
    public internal(set) var keepsAlive = true
    /// Whether the client waits for `100 Continue` before it sends the body.
    public internal(set) var expectsContinue = false
    public internal(set) var body = BodyFraming.none
    // A slice is empty if the field is absent. For a field on several lines, it extends from the
    // first value to the last and includes the lines between.
    public internal(set) var ifMatch = Slice()
    public internal(set) var ifUnmodifiedSince = Slice()
    public internal(set) var ifNoneMatch = Slice()
    public internal(set) var ifModifiedSince = Slice()
    public internal(set) var ifRange = Slice()
    public internal(set) var range = Slice()

    /// Returns the target without its query within `bytes`, the buffer that was parsed. An empty
    /// path is `/` (RFC 9112, 3.2.2).
    @inlinable
    public func path(in bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        guard !path.isEmpty else {
            let root: StaticString = "/"
            return UnsafeRawBufferPointer(start: root.utf8Start, count: 1)
        }
        return path.of(bytes)
    }
}

/// Limits on the input that the server reads and stores: `fields` is a number of fields, all others
/// are bytes.
public struct RequestLimits: Sendable {
    public var requestLine = 8192
    public var field = 8192
    public var fields = 100
    public var head = 32 << 10
    public var body = 1 << 20

    public init() {}
}
