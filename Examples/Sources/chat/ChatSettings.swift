// The limits of the chat, the same on all loops.
import NetAPI
import WebSocketCodec

struct ChatSettings: Sendable {
    /// The origins whose pages may connect.
    var origins = OriginRule.sameHost
    var messageBytes = 4096
    var nameBytes = 32
    var framesPerSecond = 50
    var members = 1000
    /// The unsent bytes at which a connection is reset.
    var unreadBytes = 256 << 10
    /// The bytes of events that a loop has not written yet, above which the next author is refused.
    var waitingBytes = 16 << 20
    var pingInterval = Duration.seconds(20)
    /// The time for a request's head, and that for a member's name.
    var headTimeout = Duration.seconds(10)

    /// The largest number of frames of one message. No client needs to cut a short text more often.
    private static let fragments = 128

    var reading: MessageReader.Limits {
        .init(frame: messageBytes, message: messageBytes, fragments: Self.fragments)
    }

    /// The size of the longest event. JSON writes a control character of one byte as six. The rest
    /// of an event is the frame's header, and words of JSON.
    var eventBytes: Int { 6 * (messageBytes + nameBytes) + 64 }

    /// The bytes that a loop writes to each member in a turn. The kernel is offered them before the
    /// next turn's. On io_uring its answer comes a turn later, and statistics may come between.
    var bytesPerTurn: Int { unreadBytes / 4 }

    /// Whether a member that reads everything at once never reaches `unreadBytes`.
    var isConsistent: Bool { eventBytes <= bytesPerTurn }

    /// Returns the options with the limits that the library enforces.
    func limiting(_ options: Options) -> Options {
        options.with {
            // Frames are consumed as they arrive. Only the head of a request stays unread.
            $0.limits.inboundBytes = 64 << 10
            $0.limits.outboundBytes = unreadBytes
            $0.limits.outboundHighMark = max(1, unreadBytes / 2)
            $0.limits.outboundLowMark = unreadBytes / 4
        }
    }
}
