// The state of one connection, confined to its loop.
import HTTPCodec
import NetAPI
import WebSocketCodec

final class Visitor {
    enum Phase: Equatable {
        /// The connection is between HTTP requests, or within one.
        case requests
        /// The connection is a WebSocket. Its first message is the name.
        case unnamed
        /// The connection is a member of the room, with this number.
        case member(Int)
        /// A close frame is sent, and nothing more is read.
        case closing
    }

    @exclusivity(unchecked) var phase = Phase.requests
    @exclusivity(unchecked) var parser = RequestParser()
    @exclusivity(unchecked) var reader: MessageReader
    /// The timer of the head, then of the name, then of the silence.
    @exclusivity(unchecked) var timer: ScheduledTimer?
    @exclusivity(unchecked) var requests = 0
    /// The number of events since the loop last counted anew.
    @exclusivity(unchecked) var events = 0
    /// Whether anything has arrived since the timer last looked.
    @exclusivity(unchecked) var isHeard = false
    @exclusivity(unchecked) var awaitsPong = false

    init(_ settings: ChatSettings) { reader = MessageReader(limits: settings.reading) }

    /// Whether the connection is a WebSocket that is not closing.
    var talks: Bool { phase != .requests && phase != .closing }
}
