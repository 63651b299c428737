// One connection's place in the protocol.
import HTTPCodec
import NetAPI

final class Exchange {
    enum Phase {
        /// Between requests, or within a head.
        case head
        /// Within a body, after which this is the answer.
        case body(Reply)
    }

    /// What the client owes, and of which request.
    struct Owed: Equatable {
        enum Part { case head, body }
        let part: Part
        let request: Int
    }

    var phase = Phase.head
    var parser: RequestParser
    var decoder = BodyDecoder(.none)
    /// Only what `/echo` gives back.
    var body: [UInt8] = []
    var owed: Owed?
    var timer: Timer?
    var requests = 0
    // Of the request being answered.
    var isHead = false
    var isVersion11 = true
    var keepsAlive = true

    init(limits: RequestLimits) { parser = RequestParser(limits: limits) }
}

/// What a request gets.
enum Reply {
    case plaintext
    case json
    case echo
    case metrics
    case status(Status)
    case file(OpenFile)
}
