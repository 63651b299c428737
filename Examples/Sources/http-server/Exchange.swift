// One connection's place in the protocol. Confined to its loop, where callbacks come one by one, so
// that accesses need not be checked.
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

    @exclusivity(unchecked) var phase = Phase.head
    @exclusivity(unchecked) var parser: RequestParser
    @exclusivity(unchecked) var decoder = BodyDecoder(.none)
    /// Only what `/echo` gives back.
    @exclusivity(unchecked) var body: [UInt8] = []
    @exclusivity(unchecked) var owed: Owed?
    @exclusivity(unchecked) var timer: Timer?
    @exclusivity(unchecked) var requests = 0
    /// Bytes of answers, those of files too, since it was last seen to have taken all.
    @exclusivity(unchecked) var handedOver = 0
    /// Whether `SlowReaders` has it.
    @exclusivity(unchecked) var isNoted = false
    // Of the request being answered.
    @exclusivity(unchecked) var isHead = false
    @exclusivity(unchecked) var isVersion11 = true
    @exclusivity(unchecked) var keepsAlive = true
    @exclusivity(unchecked) var awaitsContinue = false

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

    /// Its bytes go past those that are gathered, and may be many.
    var isWrittenDirectly: Bool {
        switch self {
        case .echo, .metrics, .file: true
        case .plaintext, .json, .status: false
        }
    }
}
