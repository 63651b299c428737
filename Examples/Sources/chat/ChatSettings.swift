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
    var pingInterval = Duration.seconds(20)
    var headTimeout = Duration.seconds(10)

    /// The largest number of frames of one message. No client needs to cut a short text more often.
    private static let fragments = 128

    var reading: MessageReader.Limits {
        .init(frame: messageBytes, message: messageBytes, fragments: Self.fragments)
    }

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
