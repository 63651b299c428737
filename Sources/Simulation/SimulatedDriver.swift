import Glibc
import MillraceEventLoop

/// The third driver: deterministic, without its own kernel, thread or clock, and with the faults of
/// its plan. Each loop has one, and any number of them share a network.
///
/// `wait` never blocks. The code that steps the loops reads each driver's `nextReadyTime`. If no
/// driver is ready, that code moves the network's clock to the earliest of three: those times, the
/// `lastWaitDeadline`s and the network's `nextActionTime`.
///
/// Lent bytes are overwritten at the following `next()` or `wait`. A send's bytes are read when
/// they leave, not when they are submitted. A loop that breaks either rule corrupts a stream or
/// shows up in `violations`.
package final class SimulatedDriver: Driver {
    package let counters = DriverCounters()
    package let network: SimulatedNetwork
    package let plan: FaultPlan
    package let wakeSignal = SimulatedWaker()
    package private(set) var now: Nanoseconds
    package private(set) var lastWaitDeadline: Nanoseconds?
    package private(set) var waitCount = 0
    var acceptsLeft = 0
    /// The number of stale completions that were queued for closed tokens.
    package internal(set) var staleCount = 0

    var random: SeededRandom
    /// Ports that may have work, in the order in which they became so. A dictionary's order would
    /// differ from run to run.
    var awake: [Port] = []
    private var ports: [Token: Port] = [:]
    var queue = CompletionQueue()
    var stale: [(time: Nanoseconds, token: Token, event: QueuedEvent)] = []
    var memoryViolations: [String] = []
    private var rules = SeamRules()
    private var scratch: UnsafeMutableRawBufferPointer
    private var lentCount = 0
    private var lentDatagram = LentDatagram()

    private static let acceptBudget = 16

    /// The value of lent bytes after the loan ends.
    package static let poison: UInt8 = 0xDD

    package init(network: SimulatedNetwork, seed: UInt64, plan: FaultPlan = .calm) {
        self.network = network
        self.plan = plan
        random = SeededRandom(seed: seed)
        now = network.now
        scratch = .allocate(byteCount: plan.chunk, alignment: 16)
        poisonAll()
    }

    deinit { scratch.deallocate() }

    package var clock: Nanoseconds { network.now }
    package private(set) var acceptedPeer: SocketAddress?
    package var waker: any Waker { wakeSignal }

    /// Rules of the seam that the loop broke, and mistakes of this driver itself.
    package var violations: [String] {
        rules.loopViolations + rules.driverViolations + memoryViolations
    }

    /// The number of tokens whose `closed` has not been pulled.
    package var liveTokenCount: Int { rules.liveCount }

    // MARK: Stepping

    package var hasReady: Bool {
        wakeSignal.isMarked || nextReadyTime.map { $0 <= network.now } ?? false
    }

    /// Whether completions are left to pull.
    package var hasCompletions: Bool { !queue.isEmpty }

    /// The time at which a wait will have completions, by the present state of the streams; nil if
    /// none is expected.
    package var nextReadyTime: Nanoseconds? {
        if !queue.isEmpty { return network.now }
        var earliest = stale.lazy.map(\.time).min()
        for port in awake {
            if let time = port.nextWorkTime { earliest = min(earliest ?? time, time) }
        }
        return earliest
    }

    // MARK: Driver

    package func attach(_ descriptor: Descriptor, as token: Token) {
        rules.attach(descriptor, as: token)
        guard let socket = network.socket(descriptor, for: "attach") else { return }
        socket.isDriven = true
        let port = Port(token: token, socket: socket)
        ports[token] = port
        port.onChange { [weak self, weak port] in
            if let self, let port { wake(port) }
        }
    }

    package func submit(_ operation: Operation, for token: Token) {
        rules.submit(operation, for: token)
        guard let port = ports[token], port.closeTime == nil else { return }
        wake(port)
        switch operation {
        case .accept: startStream(.accept, on: port)
        case .receive: startStream(.receive, on: port)
        case .receiveDatagrams: startStream(.datagrams, on: port)
        case .connect(let address, let length): connect(port, to: address, Int(length))
        case .send(let bytes): startSend(bytes, on: port)
        case .stop(let kind): startStop(kind, on: port)
        case .watch: port.watchTime = laterTime()
        case .shutdownWrite: port.endpoint?.shutdownWrite()
        case .close: startClose(port)
        }
    }

    package func send(_ bytes: UnsafeRawPointer, _ count: Int, for token: Token) -> Bool {
        let bytes = UnsafeRawBufferPointer(start: bytes, count: count)
        guard let port = ports[token], canTakeAtOnce(bytes, port),
            case .taken(bytes.count)? = port.endpoint?.write(bytes)
        else {
            submit(.send(bytes), for: token)
            return false
        }
        rules.submit(.send(bytes), for: token)
        rules.deliver(Completion(token, .sent(bytes.count)))
        return true
    }

    package func trySend(_ bytes: UnsafeRawBufferPointer, for token: Token) -> Int {
        rules.trySend(for: token)
        guard let port = ports[token], canTakeAtOnce(bytes.prefix(1), port) else { return 0 }
        let part = UnsafeRawBufferPointer(rebasing: bytes.prefix(random.within(1...bytes.count)))
        guard case .taken(let count)? = port.endpoint?.write(part) else { return 0 }
        return count
    }

    package func flushSubmissions() {}

    package func wait(until deadline: Nanoseconds?) throws(SystemError) {
        endLoan()
        network.runDue()
        now = network.now
        lastWaitDeadline = deadline
        waitCount += 1
        acceptsLeft = Self.acceptBudget
        wakeSignal.consume()
        if queue.isEmpty && random.happens(plan.spuriousWakeUps) { return }
        gather()
    }

    package func next() -> Completion? {
        endLoan()
        guard let entry = queue.takeFirst() else { return nil }
        let completion = Completion(
            entry.token, entry.event.event(lending: lend, datagram: { lentDatagram.lend($0) }))
        guard !entry.isStale else { return completion }
        if case .accepted(let descriptor) = entry.event { notePeer(of: descriptor) }
        rules.deliver(completion)
        if let memory = entry.memory { check(memory, of: entry.token) }
        if case .closed = entry.event { perhapsSlipIn(staleFor: entry.token) }
        return completion
    }

    package var mayHoldInput: Bool { hasCompletions }

    package func shutDown() {
        endLoan()
        for port in ports.values.sorted(by: { $0.token.word < $1.token.word }) {
            network.close(port.socket)
        }
        ports = [:]
        awake = []
        while let entry = queue.takeFirst() { discard(entry.event) }
    }

    // MARK: Lent bytes

    private func lend(_ bytes: [UInt8]) -> UnsafeRawPointer {
        lentCount = bytes.count
        scratch.copyBytes(from: bytes)
        return UnsafeRawPointer(scratch.baseAddress!)
    }

    private func endLoan() {
        if let start = scratch.baseAddress { memset(start, Int32(Self.poison), lentCount) }
        lentCount = 0
        lentDatagram.end(poison: Self.poison)
    }

    private func poisonAll() {
        lentCount = scratch.count
        endLoan()
    }

    private func notePeer(of descriptor: Descriptor) {
        guard case .stream(let endpoint) = network.socket(descriptor, for: "accept")?.kind else {
            return
        }
        acceptedPeer = endpoint.remote
    }

    func wake(_ port: Port) {
        guard !port.isAwake else { return }
        port.isAwake = true
        awake.append(port)
    }

    /// Whether the port is attached and its `closed` is still to come.
    func owns(_ port: Port) -> Bool { ports[port.token] === port }

    func forget(_ port: Port) {
        port.becomeIdle()
        ports[port.token] = nil
    }

    func discard(_ event: QueuedEvent) {
        if case .accepted(let descriptor) = event,
            let socket = network.socket(descriptor, for: "close")
        {
            network.close(socket)
        }
    }

    func check(_ memory: SendMemory, of token: Token) {
        guard !memory.isUnchanged else { return }
        memoryViolations.append(
            "send memory changed before its answer: slot \(token.slot), "
                + "generation \(token.generation)")
    }
}
