/// A call or an answer on the wire. Four bytes have the length of the rest. Then come eight bytes
/// of the id, one of the code, and the body, all in network order.
public import NetAPI

public struct Frame: Equatable, Sendable {
    /// The most bytes behind the length.
    public static let limit = 1 << 16
    /// The most bytes of a body.
    public static let bodyLimit = limit - headBytes
    private static let headBytes = 9

    /// The client's number of the call, which its answer repeats.
    public var id: UInt64
    /// A `Method` in a call, a `Status` in an answer.
    public var code: UInt8
    public var body: [UInt8]

    public init(id: UInt64, code: UInt8, body: [UInt8] = []) {
        self.id = id
        self.code = code
        self.body = body
    }

    /// Reads the bytes behind the length. Returns nil if they are too few.
    public init?(_ bytes: RawSpan) {
        guard let id: UInt64 = bytes.integer(), let code: UInt8 = bytes.integer(at: 8) else {
            return nil
        }
        let body = bytes.extracting(droppingFirst: Self.headBytes)
        self.init(id: id, code: code, body: [UInt8](copying: body))
    }

    public func write(to connection: Connection) {
        connection.write(integer: UInt32(Self.headBytes + body.count))
        connection.write(integer: id)
        connection.write(integer: code)
        connection.write(body)
    }
}

/// The calls that the server knows.
public enum Method {
    /// Returns the body.
    public static let echo: UInt8 = 1
    /// Returns the body behind its first four bytes, after so many milliseconds.
    public static let wait: UInt8 = 2
}

/// The results of a call.
public enum Status {
    /// The body is the result.
    public static let answer: UInt8 = 0
    /// The body is the reason.
    public static let refusal: UInt8 = 1
}
