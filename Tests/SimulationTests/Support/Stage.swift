import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// One loop over a driver that reports the completions that the test passes in. Time stands still
/// unless a turn has a delay.
final class Stage {
    typealias Request = ScriptedDriver.Request

    let driver = ScriptedDriver()
    let network = SimulatedNetwork(seed: 1)
    let delegate = RecordingDelegate()
    let owner = RecordingOwner()
    let listener: BoundListener
    let sockets: SimulatedSockets
    let remote: LoopRemote
    let loop: Loop
    /// The ports of loops that do not run. If there are any, the connections are handed to them.
    let others: [LoopRemote]
    /// The peers, in the order in which they connected.
    private(set) var peers: [Peer] = []

    /// The listener is one of streams, or a socket for datagrams.
    init(
        _ configuration: LoopConfiguration, handsTo others: Int = 0,
        _ balancer: Balancer.Policy = .roundRobin, receivesDatagrams: Bool = false
    ) throws {
        sockets = SimulatedSockets(network: network)
        let place = SocketAddress.v4(IPv4Bytes(0), port: 0)
        listener =
            receivesDatagrams
            ? try sockets.bindDatagrams(on: place, ListenOptions())
            : try sockets.listen(on: place, ListenOptions())
        remote = Loop.remote(index: 0, capacity: 1_024, driver: driver)
        self.others = (0..<others).map {
            Loop.remote(index: $0 + 1, capacity: 1_024, driver: ScriptedDriver())
        }
        loop = Loop(
            index: 0, remote: remote, driver: driver, sockets: sockets, delegate: delegate,
            configuration: configuration, listeners: [(listener, spreads: others > 0)],
            targets: others > 0 ? self.others : [remote], balancer: balancer, owner: owner)
    }

    // MARK: Turning

    /// Runs one turn. During its wait the clock moves on by `delay`, and the driver gets
    /// `completions`. Returns the loop's requests to the driver.
    @discardableResult
    func turn(
        after delay: Nanoseconds = 0, _ completions: (Token, QueuedEvent)...
    ) -> [Request] {
        turn(after: delay, completions)
    }

    func turn(
        after delay: Nanoseconds, _ completions: [(Token, QueuedEvent)]
    ) -> [Request] {
        _ = driver.takeRequests()
        driver.now += delay
        driver.script(completions)
        _ = loop.turn()
        return driver.takeRequests()
    }

    /// Runs a turn that begins with this message.
    @discardableResult
    func turn(
        after delay: Nanoseconds = 0, message: LoopMessage,
        _ completions: (Token, QueuedEvent)...
    ) -> [Request] {
        if case .adopt(let descriptor, let listener, let host) = message {
            #expect(remote.adopt(descriptor, listener: listener, host: host))
        } else {
            let outcome = remote.post(message)
            #expect(outcome == .accepted)
        }
        return turn(after: delay, completions)
    }

    /// Runs a turn that begins with a program's action on one connection from outside its
    /// callbacks.
    @discardableResult
    func turn(
        _ token: Token, does body: @escaping @Sendable (Loop, ConnectionReference) -> Void
    ) -> [Request] {
        turn(
            message: .run { loop in
                let connection = loop.find(token)
                #expect(connection != nil)
                if let connection { body(loop, connection) }
            })
    }

    /// Runs the turns after one that reached a deadline: the loop checks it twice, a millisecond
    /// apart.
    func secondLook() -> [Request] {
        turn() + turn(after: .milliseconds(1)) + turn()
    }

    /// The time from the last turn's beginning to its wait's deadline; nil for no deadline.
    var lastWait: Nanoseconds? { driver.deadlines.last?.map { $0 - driver.now } }

    // MARK: Connections

    /// Returns a newly accepted descriptor, which has no owner yet.
    func makeDescriptor() throws -> Descriptor { try makeStream().descriptor }

    func makeStream() throws -> AcceptedStream {
        connectPeer()
        return try #require(try sockets.acceptWaiting(on: listener.descriptor))
    }

    /// Connects a peer, which then waits in the backlog.
    func connectPeer() {
        peers.append(network.connect(to: listener.address))
        network.runDue()
    }

    func isOpen(_ descriptor: Descriptor) -> Bool { network.openDescriptors.contains(descriptor) }

    /// Opens a connection that another loop has accepted.
    func open() throws -> Token {
        owner.connectionAdded()
        turn(message: .adopt(try makeStream(), listener: 0, host: nil))
        let token = try #require(delegate.lastOpened)
        #expect(delegate.take(token) == [.opened])
        return token
    }

    /// Starts accepting, and returns the listener's token.
    func startAccepting() throws -> Token {
        let requests = turn(message: .startAccepting)
        guard case .attach(listener.descriptor, let token) = requests.first else {
            throw Unexpected(requests: requests)
        }
        let start = listener.isDatagram ? Request.receiveDatagrams(token) : .accept(token)
        #expect(requests == [.attach(listener.descriptor, token), start])
        return token
    }

    /// Runs the first half of a stop.
    @discardableResult
    func stopAccepting() -> [Request] {
        turn(message: .stopAccepting(within: .milliseconds(10_000)))
    }

    struct Unexpected: Error { let requests: [Request] }

    // MARK: A program's actions on a connection, each in a separate turn

    @discardableResult
    func write(_ bytes: [UInt8], to token: Token) -> [Request] {
        turn(token) { loop, connection in loop.write(connection, bytes) }
    }

    @discardableResult
    func pause(_ token: Token) -> [Request] { turn(token) { $0.pauseReading($1) } }

    @discardableResult
    func resume(_ token: Token) -> [Request] { turn(token) { $0.resumeReading($1) } }

    @discardableResult
    func shutdownWrite(_ token: Token) -> [Request] { turn(token) { $0.shutdownWrite($1) } }

    @discardableResult
    func close(_ token: Token) -> [Request] { turn(token) { $0.close($1, .local) } }

    @discardableResult
    func abort(_ token: Token) -> [Request] { turn(token) { $0.abort($1, .local) } }

    /// Makes the kernel accept bytes of the last connection that its peer has not read yet.
    func leaveInSendQueue(_ bytes: [UInt8]) throws {
        let descriptor = try #require(network.openDescriptors.last)
        let carrier = SimulatedDriver(network: network, seed: 1, plan: .calm)
        let token = Token(slot: 1, generation: 1)
        carrier.attach(descriptor, as: token)
        let isTaken = bytes.withUnsafeBytes { buffer in
            buffer.baseAddress.map { carrier.send($0, buffer.count, for: token) } ?? false
        }
        #expect(isTaken)
        #expect(sockets.unacknowledged(descriptor) == bytes.count)
    }

    // MARK: Ending

    /// Ends everything that is still open, like after a driver's failure, and checks that no
    /// resource is left.
    func finish() {
        // They may hold this stage.
        delegate.forgetDeeds()
        driver.waitError = SystemError(EIO, "wait")
        _ = loop.turn()
        loop.endAfterFailure()
        for message in others.flatMap({ $0.mailbox.close() }) {
            guard case .adopt(let stream, _, _) = message else { continue }
            sockets.discard(stream.descriptor)
            owner.connectionClosed()
        }
        #expect(driver.isShutDown)
        #expect(delegate.shutDowns == 1)
        #expect(driver.violations == [])
        #expect(network.violations == [])
        #expect(remote.counters.open == 0)
        #expect(owner.alive == 0)
        #expect(loop.chunks.inUse == 0)
    }
}

/// Runs `body` with a loop, ends it, and checks it against the seam's rules.
func withStage(
    _ configuration: LoopConfiguration = LoopConfiguration(), handsTo others: Int = 0,
    _ balancer: Balancer.Policy = .roundRobin, receivesDatagrams: Bool = false,
    _ body: (Stage) throws -> Void
) throws {
    let stage = try Stage(
        configuration, handsTo: others, balancer, receivesDatagrams: receivesDatagrams)
    defer { stage.finish() }
    try body(stage)
}

extension Loop {
    func write(_ connection: ConnectionReference, _ bytes: [UInt8]) {
        bytes.withUnsafeBytes { write(connection, $0) }
    }
}

extension Nanoseconds {
    static func milliseconds(_ count: Nanoseconds) -> Nanoseconds { count * 1_000_000 }
}

/// The name of a connect's error, as the kernel's list has it.
func errorName(_ error: any Error) -> String { (error as? SystemError)?.name ?? "\(error)" }
