// The protocol state of one connection. It is confined to the connection's loop, where callbacks
// run one by one, so accesses need no exclusivity check.
import HTTPCodec
import NetAPI

final class Exchange {
    enum Phase {
        /// The connection is between requests or within a head.
        case head
        /// The connection is within a body, after which this reply is sent.
        case body(Reply)
        /// The connection is within a body whose request is already answered, so the body is
        /// dropped.
        case answered
    }

    /// The input that the client has still to send, and the number of its request.
    struct Owed: Equatable {
        enum Part {
            case head, body
            /// No input is missing: the server continues soon, after the turns of other
            /// connections.
            case turn
        }
        let part: Part
        let request: Int
    }

    @exclusivity(unchecked) var phase = Phase.head
    @exclusivity(unchecked) var parser: RequestParser
    @exclusivity(unchecked) var decoder = BodyDecoder(.none)
    /// The body that `/echo` returns; empty for other requests.
    @exclusivity(unchecked) var body: [UInt8] = []
    @exclusivity(unchecked) var owed: Owed?
    @exclusivity(unchecked) var timer: ScheduledTimer?
    /// The value of `isBusy` that was last set on the connection.
    @exclusivity(unchecked) var isBusy = false
    @exclusivity(unchecked) var requests = 0
    /// Whether reading is paused until the rest of a long pipeline is answered.
    @exclusivity(unchecked) var isPaused = false
    /// The number of steps since the connection last rested.
    @exclusivity(unchecked) var steps = 0
    /// The bytes of responses, including files, since the connection was last seen without unsent
    /// bytes.
    @exclusivity(unchecked) var handedOver = 0
    /// Whether `SlowReaders` lists this connection.
    @exclusivity(unchecked) var isNoted = false
    /// The bytes of a body that have arrived since the server began to wait for it.
    @exclusivity(unchecked) var bodyBytes = 0
    /// The request line, stored only for the access log.
    @exclusivity(unchecked) var requestLine: [UInt8] = []
    // The next four properties describe the request that is being answered.
    @exclusivity(unchecked) var isHead = false
    @exclusivity(unchecked) var isVersion11 = true
    @exclusivity(unchecked) var keepsAlive = true
    @exclusivity(unchecked) var awaitsContinue = false

    init(limits: RequestLimits) { parser = RequestParser(limits: limits) }

    /// Adds a response's bytes to `handedOver`. The sum saturates, because the lengths of several
    /// files may exceed an Int.
    func hasToTake(_ bytes: Int) {
        let (sum, isTooMuch) = handedOver.addingReportingOverflow(bytes)
        handedOver = isTooMuch ? .max / 2 : min(sum, .max / 2)
    }
}

/// The response to a request.
enum Reply {
    case plaintext
    case json
    case echo
    case metrics
    case status(Status)
    /// Status 405. The resource allows GET and HEAD, and perhaps POST.
    case notAllowed(takesPosts: Bool)
    /// Status 301 with this location.
    case moved([UInt8])
    case file(OpenFile)
    /// A file that is opened when the body has arrived. A client that sends no body must not keep a
    /// file open.
    case later(LaterRequest)

    /// Whether the response is short and costs little, so that it is collected with others.
    var isCheap: Bool {
        switch self {
        case .plaintext, .json: true
        default: false
        }
    }
}

/// A request for a file, kept while its body arrives.
final class LaterRequest {
    let head: RequestHead
    /// The bytes to which the slices of `head` refer.
    let bytes: [UInt8]

    init(_ head: RequestHead, _ bytes: UnsafeRawBufferPointer) {
        self.head = head
        self.bytes = Array(bytes)
    }
}
