// The codes of close frames (RFC 6455, 7.4).

public struct CloseCode: RawRepresentable, Sendable, Hashable {
    public let rawValue: UInt16

    public init(rawValue: UInt16) { self.rawValue = rawValue }

    public static let normal = CloseCode(rawValue: 1000)
    /// The server stops, or the page is left.
    public static let goingAway = CloseCode(rawValue: 1001)
    public static let protocolError = CloseCode(rawValue: 1002)
    /// A kind of message that the endpoint does not accept, such as binary ones.
    public static let unsupportedData = CloseCode(rawValue: 1003)
    /// A text that is not UTF-8.
    public static let invalidData = CloseCode(rawValue: 1007)
    public static let policyViolation = CloseCode(rawValue: 1008)
    public static let tooBig = CloseCode(rawValue: 1009)
    public static let tryAgainLater = CloseCode(rawValue: 1013)

    /// Whether a close frame may have this code. 1004 is undefined, and 1005, 1006 and 1015 stand
    /// for closes without a frame. IANA has assigned 1012 to 1014 since the RFC. 3000 to 3999 are
    /// registered, 4000 to 4999 private.
    public var isAllowedInFrame: Bool {
        switch rawValue {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }
}
