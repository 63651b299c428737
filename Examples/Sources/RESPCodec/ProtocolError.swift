/// An error in the bytes of a peer. Redis reports it and closes the connection.
public enum ProtocolError: Error, Equatable, Sendable {
    case unbalancedQuotes
    case longInline
    case longArgumentCount
    case longBulkCount
    case badArgumentCount
    case badBulkLength
    /// A byte in the place of a `$`.
    case noBulk(UInt8)

    /// The error in Redis's words, without the `-` and the line's end.
    public var text: String { "ERR Protocol error: " + reason }

    private var reason: String {
        switch self {
        case .unbalancedQuotes: "unbalanced quotes in request"
        case .longInline: "too big inline request"
        case .longArgumentCount: "too big mbulk count string"
        case .longBulkCount: "too big bulk count string"
        case .badArgumentCount: "invalid multibulk length"
        case .badBulkLength: "invalid bulk length"
        case .noBulk(let byte): "expected '$', got '\(Self.shown(byte))'"
        }
    }

    /// Returns a byte in the form that an error shows. Redis replaces line ends in an error by
    /// blanks. A byte that is no printable ASCII character becomes a number, since it is no valid
    /// text alone.
    private static func shown(_ byte: UInt8) -> String {
        switch byte {
        case carriageReturn, lineFeed: " "
        case 0x20...0x7E: String(Unicode.Scalar(byte))
        default: "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
    }
}
