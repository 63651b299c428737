import CLinux
internal import EventLoop

/// What the driver knows of one token: its descriptor, what it waits for, and what the kernel was
/// told.
struct EpollEntry: TokenEntry {
    var descriptor: CInt = -1
    var token = Token.none
    var isRegistered = false
    /// The last send was short: only the kernel knows when there is room again.
    var isFull = false
    var isConnecting = false
    /// What `sendNow` met and nobody has been told of; 0: nothing.
    var sendError: CInt = 0
    var streams: EpollStreams = []
    /// The events that the registration asks for.
    var interest: UInt32 = 0
    /// Bytes that the socket has not taken yet.
    var pendingSend: UnsafeRawPointer?
    var pendingCount = 0

    var wantedInterest: UInt32 {
        (streams.isEmpty ? 0 : UInt32(MR_EPOLLIN))
            | (pendingSend == nil && !isConnecting ? 0 : UInt32(MR_EPOLLOUT))
    }
}

struct EpollStreams: OptionSet {
    let rawValue: UInt8

    static let receive = EpollStreams(rawValue: 1)
    static let accept = EpollStreams(rawValue: 2)
    static let datagrams = EpollStreams(rawValue: 4)

    init(rawValue: UInt8) { self.rawValue = rawValue }

    init(_ kind: StreamKind) {
        self =
            switch kind {
            case .receive: .receive
            case .accept: .accept
            case .datagrams: .datagrams
            }
    }
}
