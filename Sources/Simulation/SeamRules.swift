import MillraceEventLoop

/// The rules of the seam for the loop and the driver, checked on each call across it.
///
/// Attachments and operations are checked when they are made, and completions when they are pulled.
/// A completion that is queued in a driver has not been delivered yet.
package struct SeamRules {
    private enum Stream {
        case none
        case running(StreamKind)
        case stopping(StreamKind)
    }

    private struct Life {
        let descriptor: Descriptor
        var stream = Stream.none
        var isConnecting = false
        /// Whether a receive was ever submitted.
        var isStream = false
        var hasSentNothing = false
        var sending: Int?
        var hasShutDown = false
        var isWatched = false
        var mayHangUp = false
        var isClosing = false
    }

    /// Rules that the loop broke.
    package private(set) var loopViolations: [String] = []
    /// Rules that the driver broke.
    package private(set) var driverViolations: [String] = []
    private var lives: [Token: Life] = [:]
    private var slots: Set<UInt32> = []
    /// Attached descriptors, without those that are closing: a kernel may reuse their numbers
    /// before `closed` is pulled.
    private var attached: Set<Descriptor> = []

    package init() {}

    /// The number of tokens whose `closed` has not been pulled.
    package var liveCount: Int { lives.count }

    /// Live tokens whose close has not been submitted, in order.
    package var openTokens: [Token] {
        lives.filter { !$0.value.isClosing }.keys.sorted { $0.word < $1.word }
    }

    package mutating func attach(_ descriptor: Descriptor, as token: Token) {
        if !attached.insert(descriptor).inserted {
            loop("attached descriptor \(descriptor.number) a second time", token)
        }
        if !slots.insert(token.slot).inserted {
            loop("attached to a slot whose earlier life is not closed", token)
        }
        lives[token] = Life(descriptor: descriptor)
    }

    package mutating func submit(_ operation: Operation, for token: Token) {
        guard var life = lives[token] else {
            return loop("\(name(of: operation)) on a token that is not attached", token)
        }
        if life.isClosing {
            loop("\(name(of: operation)) after close", token)
        }
        switch operation {
        case .accept: start(.accept, &life, token)
        case .receive:
            start(.receive, &life, token)
            if life.hasSentNothing { loop("empty send", token) }
            life.hasSentNothing = false
            life.isStream = true
            life.isWatched = false
        case .watch:
            if case .none = life.stream {
            } else {
                loop("watch of a socket that is received from", token)
            }
            if life.isWatched { loop("watch of a watched socket", token) }
            life.isWatched = true
            life.mayHangUp = true
        case .receiveDatagrams: start(.datagrams, &life, token)
        case .connect:
            if life.isConnecting { loop("two connects in flight", token) }
            life.isConnecting = true
        case .send(let bytes):
            // A datagram may be empty, and the socket's kind may show only later.
            if bytes.isEmpty {
                if life.isStream { loop("empty send", token) }
                life.hasSentNothing = !life.isStream
            }
            if life.sending != nil { loop("two sends in flight", token) }
            if life.hasShutDown { loop("send after shutdownWrite", token) }
            life.sending = bytes.count
        case .stop(let kind):
            if case .running(kind) = life.stream {
                life.stream = .stopping(kind)
            } else {
                loop("stop of \(kind), which is not running", token)
            }
        case .shutdownWrite:
            if life.sending != nil { loop("shutdownWrite before the send's answer", token) }
            life.hasShutDown = true
        case .close:
            life.isClosing = true
            attached.remove(life.descriptor)
        }
        lives[token] = life
    }

    package mutating func trySend(for token: Token) {
        guard let life = lives[token] else {
            return loop("trySend on a token that is not attached", token)
        }
        if life.isClosing { loop("trySend after close", token) }
        if life.sending != nil { loop("trySend while a send is in flight", token) }
        if life.hasShutDown { loop("trySend after shutdownWrite", token) }
    }

    package mutating func deliver(_ completion: Completion) {
        let token = completion.token
        guard var life = lives[token] else {
            return driver("\(completion.event) for a token that is not attached", token)
        }
        switch completion.event {
        case .accepted: expect(.accept, life, "accepted", token)
        case .received(_, let count):
            expect(.receive, life, "received", token)
            if count <= 0 { driver("received no bytes", token) }
        case .datagram: expect(.datagrams, life, "datagram", token)
        case .connected: answerConnect(&life, "connected", token)
        case .failed(.connect, _): answerConnect(&life, "failed connect", token)
        case .failed(.datagrams, _): end(.datagrams, &life, "failed datagrams", token)
        case .endOfStream: end(.receive, &life, "endOfStream", token)
        case .stopped(let kind):
            if case .stopping(kind) = life.stream {
            } else if !life.isClosing {
                driver("stopped \(kind) without a stop", token)
            }
            life.stream = .none
        case .hungUp:
            if !life.mayHangUp { driver("hungUp without a watch", token) }
            life.isWatched = false
            life.mayHangUp = false
        case .sent(let count):
            answerSend(&life, "sent", token, count)
        case .failed(.accept, _): end(.accept, &life, "failed accept", token)
        case .failed(.receive, _): end(.receive, &life, "failed receive", token)
        case .failed(.send, _): answerSend(&life, "failed send", token, 0)
        case .closed:
            if !life.isClosing { driver("closed without a close", token) }
            lives[token] = nil
            slots.remove(token.slot)
            return
        }
        lives[token] = life
    }

    private mutating func start(_ kind: StreamKind, _ life: inout Life, _ token: Token) {
        if case .none = life.stream {
        } else {
            loop("\(kind) before the previous stream's last word", token)
        }
        life.stream = .running(kind)
    }

    private mutating func expect(
        _ kind: StreamKind, _ life: Life, _ what: String, _ token: Token
    ) {
        switch life.stream {
        case .running(kind), .stopping(kind): return
        default: driver("\(what) without a running stream", token)
        }
    }

    private mutating func end(
        _ kind: StreamKind, _ life: inout Life, _ what: String, _ token: Token
    ) {
        expect(kind, life, what, token)
        life.stream = .none
    }

    private mutating func answerConnect(_ life: inout Life, _ what: String, _ token: Token) {
        if !life.isConnecting { driver("\(what) without a connect", token) }
        life.isConnecting = false
    }

    private mutating func answerSend(
        _ life: inout Life, _ what: String, _ token: Token, _ count: Int
    ) {
        if let asked = life.sending {
            if count > asked { driver("\(what) \(count) of \(asked)", token) }
        } else {
            driver("\(what) without a send", token)
        }
        life.sending = nil
    }

    private mutating func loop(_ what: String, _ token: Token) {
        loopViolations.append("\(what): slot \(token.slot), generation \(token.generation)")
    }

    private mutating func driver(_ what: String, _ token: Token) {
        driverViolations.append("\(what): slot \(token.slot), generation \(token.generation)")
    }

    private func name(of operation: Operation) -> String {
        switch operation {
        case .accept: "accept"
        case .receive: "receive"
        case .send: "send"
        case .receiveDatagrams: "receiveDatagrams"
        case .connect: "connect"
        case .stop: "stop"
        case .watch: "watch"
        case .shutdownWrite: "shutdownWrite"
        case .close: "close"
        }
    }
}
