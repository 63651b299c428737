import MillraceEventLoop
import MillraceSimulation
import MillraceTestSupport
import Testing

/// A minimal loop over one driver. It checks both sides against the seam's rules, records all
/// events, and gives up after a time.
final class Session {
    let world: any DriverWorld
    private(set) var seen: [Token: Seen] = [:]
    private(set) var peers: [any TestPeer] = []
    /// Called for each completion, after it was recorded.
    var onCompletion: ((Completion) -> Void)?

    private var rules = SeamRules()
    private var outboxes: [Token: Outbox] = [:]
    private var listeners: [BoundListener] = []
    private var nextSlot: UInt32 = 0
    private var closing: Set<Token> = []

    struct TimedOut: Error, CustomStringConvertible {
        let description: String
    }

    init(_ world: any DriverWorld) { self.world = world }

    var driver: any Driver { world.driver }
    var sockets: any Sockets { world.sockets }

    // MARK: Tokens

    func attach(_ descriptor: Descriptor) -> Token {
        defer { nextSlot += 1 }
        return attach(descriptor, as: Token(slot: nextSlot, generation: 1))
    }

    @discardableResult
    func attach(_ descriptor: Descriptor, as token: Token) -> Token {
        nextSlot = max(nextSlot, token.slot + 1)
        rules.attach(descriptor, as: token)
        seen[token] = Seen()
        driver.attach(descriptor, as: token)
        return token
    }

    func submit(_ operation: Operation, _ token: Token) {
        rules.submit(operation, for: token)
        if case .close = operation { closing.insert(token) }
        driver.submit(operation, for: token)
    }

    /// Sends all bytes, with as many sends as that needs.
    func send(_ bytes: [UInt8], _ token: Token) { send(bytes, token, isRepeated: true) }

    /// Submits one send, with no further send for the rest.
    func sendOnce(_ bytes: [UInt8], _ token: Token) { send(bytes, token, isRepeated: false) }

    private func send(_ bytes: [UInt8], _ token: Token, isRepeated: Bool) {
        let outbox = Outbox(bytes, isRepeated: isRepeated)
        outboxes[token] = outbox
        submit(.send(outbox.all), token)
    }

    /// Submits one send that may be answered at once, and records that answer. Returns false if the
    /// answer comes later.
    func sendAtOnce(_ bytes: [UInt8], _ token: Token) -> Bool {
        let outbox = Outbox(bytes, isRepeated: false)
        outboxes[token] = outbox
        rules.submit(.send(outbox.all), for: token)
        guard let start = outbox.all.baseAddress, driver.send(start, bytes.count, for: token) else {
            return false
        }
        let answer = Completion(token, .sent(bytes.count))
        rules.deliver(answer)
        note(answer)
        return true
    }

    /// Returns the number of bytes that the socket accepted.
    func trySend(_ bytes: [UInt8], _ token: Token) -> Int {
        rules.trySend(for: token)
        return bytes.withUnsafeBytes { driver.trySend($0, for: token) }
    }

    func isSending(_ token: Token) -> Bool { outboxes[token] != nil }

    // MARK: Connections

    func listen(_ transport: Transport = .tcp) throws -> BoundListener {
        let listener = try sockets.listen(on: world.address(transport), ListenOptions())
        listeners.append(listener)
        return listener
    }

    /// Hands the listener to the driver, which closes it.
    func attach(_ listener: BoundListener) -> Token {
        attach(release(listener))
    }

    /// Hands the listener to the test, which closes it.
    func release(_ listener: BoundListener) -> Descriptor {
        listeners.removeAll { $0.descriptor == listener.descriptor }
        return listener.descriptor
    }

    func connect(to listener: BoundListener, smallBuffer: Bool = false) throws -> any TestPeer {
        let peer = try world.connect(to: listener.address, smallBuffer: smallBuffer)
        peers.append(peer)
        return peer
    }

    func acceptWaiting(on listener: BoundListener) throws -> Descriptor {
        for _ in 0..<1000 {
            if let descriptor = try sockets.acceptWaiting(on: listener.descriptor)?.descriptor {
                return descriptor
            }
            world.pause(1_000_000)
        }
        throw TimedOut(description: "nobody waits on \(listener.address)")
    }

    func makePair(
        _ transport: Transport = .tcp, smallBuffer: Bool = false
    ) throws -> (token: Token, peer: any TestPeer) {
        let listener =
            try listeners.first { ($0.address.port != nil) == (transport == .tcp) }
            ?? listen(transport)
        let peer = try connect(to: listener, smallBuffer: smallBuffer)
        let descriptor = try acceptWaiting(on: listener)
        if smallBuffer { try sockets.set(.sendBuffer(4096), on: descriptor) }
        return (attach(descriptor), peer)
    }

    /// Like `makePair`, but the peer has ended its side and the end was reported; our side is still
    /// open.
    func makeEndedPair(_ transport: Transport) throws -> (token: Token, peer: any TestPeer) {
        let (token, peer) = try makePair(transport)
        submit(.receive, token)
        peer.shutdownWrite()
        try run(until: "the end") { self.seen[token]?.endCount == 1 }
        return (token, peer)
    }

    // MARK: Running

    /// Runs turns until the condition holds, for the test's patience of real time.
    func run(until what: String, _ isDone: () -> Bool) throws {
        let deadline = Deadline()
        while !isDone() {
            guard !deadline.isPast else {
                throw TimedOut(
                    description: "waited \(deadline.limit) until \(what); \(summary)")
            }
            try turn()
        }
    }

    /// Waits once, much longer than the test's patience, for `event`, which must end the wait.
    func waitUntilEnded(by event: String) throws {
        let start = world.clock
        let most = Nanoseconds(patience)
        try world.wait(until: start + 8 * most)
        try pullAll()
        guard world.clock - start < most else {
            throw TimedOut(description: "no \(event) ended a wait; \(summary)")
        }
    }

    /// Runs turns for `time`, to check that no further event comes.
    func run(for time: Nanoseconds) throws {
        let end = world.clock + time
        while world.clock < end { try turn() }
    }

    private func turn() throws {
        for peer in peers { peer.takeTurn() }
        try world.wait(until: world.clock + 2_000_000)
        try pullAll()
    }

    func pullAll() throws {
        for _ in 0..<100_000 where pull() == nil { return }
        throw TimedOut(description: "completions without end in one turn; \(summary)")
    }

    @discardableResult
    func pull() -> Completion? {
        guard let completion = driver.next() else { return nil }
        rules.deliver(completion)
        note(completion)
        onCompletion?(completion)
        return completion
    }

    private func note(_ completion: Completion) {
        let token = completion.token
        seen[token, default: Seen()].note(completion.event)
        guard var outbox = outboxes[token] else { return }
        outbox.note(completion.event)
        if outbox.isOver {
            outbox.free()
            outboxes[token] = nil
            return
        }
        outboxes[token] = outbox
        if case .sent = completion.event, let rest = outbox.rest, !closing.contains(token) {
            submit(.send(rest), token)
        }
    }

    /// Closes all peers so far, whose tokens are closed already.
    func forgetPeers() {
        for peer in peers { peer.close() }
        peers = []
    }

    // MARK: Ending

    /// Closes all open tokens and checks every rule.
    func finish() throws {
        onCompletion = nil
        for token in rules.openTokens { submit(.close, token) }
        try run(until: "everything is closed") { rules.liveCount == 0 }
        for peer in peers { peer.close() }
        for listener in listeners { sockets.discard(listener.descriptor) }
        driver.shutDown()
        record("this test broke rules", rules.loopViolations)
        record("the driver broke rules", rules.driverViolations)
        record("the world objects", world.complaints())
    }

    private func record(_ title: String, _ findings: [String]) {
        if !findings.isEmpty { Issue.record("\(title): \(findings.prefix(10))") }
    }

    /// The events of the first tokens, for failure messages.
    var summary: String {
        let lines = seen.sorted { $0.key.slot < $1.key.slot }.prefix(8).map { token, life in
            "slot \(token.slot): \(life.summary)"
        }
        let ends = peers.prefix(8).map {
            "peer: \($0.received.count) received, \($0.sentCount) sent, "
                + "end \($0.sawEndOfStream), reset \($0.sawReset)"
        }
        return "seen: " + (lines + ends).joined(separator: "; ")
    }
}

/// Runs `body` with a session over a new world, and ends both.
func withSession(_ kind: DriverKind, _ body: (Session) throws -> Void) throws {
    try withSession(try kind.makeWorld(), body)
}

func withSession(_ world: any DriverWorld, _ body: (Session) throws -> Void) throws {
    let session = Session(world)
    do {
        try body(session)
    } catch {
        session.driver.shutDown()
        throw error
    }
    try session.finish()
}

/// Like `withSession`, but on a thread with its own descriptor table. Returns the result of `body`.
func withOwnDescriptors<Value>(
    _ kind: DriverKind, _ body: @escaping (Session) throws -> Value
) throws -> Value {
    try withOwnDescriptors {
        Result {
            var value: Value?
            try withSession(kind) { value = try body($0) }
            return value!
        }
    }.get()
}
