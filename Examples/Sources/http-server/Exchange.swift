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
        /// Within a body whose request is answered already; nobody needs it.
        case answered
    }

    /// What the client owes, and of which request.
    struct Owed: Equatable {
        enum Part {
            case head, body
            /// Nothing: it is the server that goes on soon, when others have had their turn.
            case turn
        }
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
    /// As the connection was told.
    @exclusivity(unchecked) var isBusy = false
    @exclusivity(unchecked) var requests = 0
    /// Nothing is read until the rest of a long pipeline is answered.
    @exclusivity(unchecked) var isPaused = false
    /// Taken since the connection last rested.
    @exclusivity(unchecked) var steps = 0
    /// Bytes of answers, those of files too, since it was last seen to have taken all.
    @exclusivity(unchecked) var handedOver = 0
    /// Whether `SlowReaders` has it.
    @exclusivity(unchecked) var isNoted = false
    /// How much of a body has come since it is waited for.
    @exclusivity(unchecked) var bodyBytes = 0
    /// The request line, for the access log alone.
    @exclusivity(unchecked) var requestLine: [UInt8] = []
    // Of the request being answered.
    @exclusivity(unchecked) var isHead = false
    @exclusivity(unchecked) var isVersion11 = true
    @exclusivity(unchecked) var keepsAlive = true
    @exclusivity(unchecked) var awaitsContinue = false

    init(limits: RequestLimits) { parser = RequestParser(limits: limits) }

    /// Files may be as long as the disk says, and several of them longer than a number.
    func hasToTake(_ bytes: Int) {
        let (sum, isTooMuch) = handedOver.addingReportingOverflow(bytes)
        handedOver = isTooMuch ? .max / 2 : min(sum, .max / 2)
    }
}

/// What a request gets.
enum Reply {
    case plaintext
    case json
    case echo
    case metrics
    case status(Status)
    /// 405; what the resource takes instead is reading, and perhaps posting.
    case notAllowed(takesPosts: Bool)
    /// 301, to this.
    case moved([UInt8])
    case file(OpenFile)
    /// A file that is opened when the body has come: a client that sends none must hold none open.
    case later(LaterRequest)

    /// It is short, it is gathered with others, and making it costs next to nothing.
    var isCheap: Bool {
        switch self {
        case .plaintext, .json: true
        default: false
        }
    }
}

/// A request for a file, kept while its body comes.
final class LaterRequest {
    let head: RequestHead
    /// Those that `head` is about.
    let bytes: [UInt8]

    init(_ head: RequestHead, _ bytes: UnsafeRawBufferPointer) {
        self.head = head
        self.bytes = Array(bytes)
    }
}
