/// What a peer sent that is no request. Redis says so, and closes.
public enum ProtocolError: Error, Equatable, Sendable {
    case unbalancedQuotes
    case longInline
    case longArgumentCount
    case longBulkCount
    case badArgumentCount
    case badBulkLength
    /// This byte where a `$` has to be.
    case noBulk(UInt8)

    /// As Redis words it, without the `-` and the line's end.
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

    /// Redis replaces line ends in an error by blanks. What is no character of ASCII is shown as a
    /// number, since alone it is no text.
    private static func shown(_ byte: UInt8) -> String {
        switch byte {
        case carriageReturn, lineFeed: " "
        case 0x20...0x7E: String(Unicode.Scalar(byte))
        default: "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
    }
}
