internal import NetAPI

/// The reason for which a connection closed, in a form that can be compared.
///
/// `TestServer.closeReasons` has the original, with its errors. More cases may come: give a switch
/// a `default`.
@nonexhaustive
public enum Close: Sendable, Hashable, CustomStringConvertible {
    /// The program called `close()` or `abort()`, or a callback returned `.close`.
    case local
    /// The peer ended the stream.
    case peer
    /// The peer reset the connection, or the network cut it.
    case reset
    /// A callback threw the error with this description.
    case handlerError(String)
    /// A timeout of `Options.timeouts`.
    case timeout
    /// More unread bytes than `Options.Limits.inboundBytes`.
    case inboundOverflow
    /// More unsent bytes than `Options.Limits.outboundBytes`.
    case outboundOverflow
    /// The server stopped.
    case shutdown

    init(_ reason: CloseReason) {
        switch reason {
        case .local: self = .local
        case .peer: self = .peer
        case .reset: self = .reset
        case .handlerError(let error): self = .handlerError("\(error)")
        case .timeout: self = .timeout
        case .inboundOverflow: self = .inboundOverflow
        case .outboundOverflow: self = .outboundOverflow
        case .shutdown: self = .shutdown
        }
    }

    public var description: String {
        switch self {
        case .local: ".local"
        case .peer: ".peer"
        case .reset: ".reset"
        case .handlerError(let error): ".handlerError(\(error))"
        case .timeout: ".timeout"
        case .inboundOverflow: ".inboundOverflow"
        case .outboundOverflow: ".outboundOverflow"
        case .shutdown: ".shutdown"
        }
    }
}
