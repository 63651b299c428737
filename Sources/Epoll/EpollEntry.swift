import CMillraceLinux
internal import MillraceEventLoop

/// The driver's state of one token: its descriptor, its operations and its registration. It is
/// packed into half a cache line because every request touches it.
struct EpollEntry: TokenEntry {
    var token = Token.none
    /// The bytes that the socket has not accepted yet.
    var pendingSend: UnsafeRawPointer?
    var pendingCount = 0
    var descriptor: CInt = -1
    var streams: EpollStreams = []
    private var marks: EpollMarks = []
    var sendError = SendError()

    var isRegistered: Bool {
        get { marks.contains(.registered) }
        set { mark(.registered, newValue) }
    }
    /// Whether the last send was short. Only EPOLLOUT shows that the socket has room again.
    var isFull: Bool {
        get { marks.contains(.full) }
        set { mark(.full, newValue) }
    }
    var isConnecting: Bool {
        get { marks.contains(.connecting) }
        set { mark(.connecting, newValue) }
    }
    /// Whether the loop waits for a hang-up.
    var isWatched: Bool {
        get { marks.contains(.watched) }
        set { mark(.watched, newValue) }
    }
    /// The events of the registration: EPOLLIN, EPOLLOUT or both.
    var interest: UInt32 {
        get {
            (marks.contains(.input) ? UInt32(MR_EPOLLIN) : 0)
                | (marks.contains(.room) ? UInt32(MR_EPOLLOUT) : 0)
        }
        set {
            mark(.input, newValue & UInt32(MR_EPOLLIN) != 0)
            mark(.room, newValue & UInt32(MR_EPOLLOUT) != 0)
        }
    }
    var wantedInterest: UInt32 {
        (streams.isEmpty ? 0 : UInt32(MR_EPOLLIN))
            | (pendingSend == nil && !isConnecting ? 0 : UInt32(MR_EPOLLOUT))
    }

    @inline(__always)
    private mutating func mark(_ mark: EpollMarks, _ isSet: Bool) {
        if isSet { marks.insert(mark) } else { marks.remove(mark) }
    }
}

private struct EpollMarks: OptionSet {
    let rawValue: UInt8

    static let registered = EpollMarks(rawValue: 1)
    static let full = EpollMarks(rawValue: 2)
    static let connecting = EpollMarks(rawValue: 4)
    static let input = EpollMarks(rawValue: 8)
    static let room = EpollMarks(rawValue: 16)
    static let watched = EpollMarks(rawValue: 32)
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
