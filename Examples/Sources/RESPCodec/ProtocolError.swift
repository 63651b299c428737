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

    /// Redis replaces line ends in an error by blanks. A byte that is no character of its own is
    /// shown as the letter of that number in Latin-1.
    private static func shown(_ byte: UInt8) -> Character {
        byte == carriageReturn || byte == lineFeed ? " " : Character(Unicode.Scalar(byte))
    }
}
