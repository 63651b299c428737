import MillraceEventLoop

/// A driver that delivers exactly the completions of a test's script, and records the requests. It
/// is for unit tests of the loop with event orders that no kernel produces on demand.
package final class ScriptedDriver: Driver {
    package let counters = DriverCounters()
    /// An operation as it was submitted; a send's bytes are copied at that moment.
    package enum Request: Equatable {
        case attach(Descriptor, Token)
        case accept(Token)
        case receive(Token)
        case receiveDatagrams(Token)
        case connect([UInt8], Token)
        case send([UInt8], Token)
        /// Bytes that the kernel took within `trySend`.
        case sentAtOnce([UInt8], Token)
        case stop(StreamKind, Token)
        case watch(Token)
        case shutdownWrite(Token)
        case close(Token)
    }

    package var now: Nanoseconds = 1_000_000_000
    /// All requests since `takeRequests`, in order.
    package private(set) var requests: [Request] = []
    package private(set) var deadlines: [Nanoseconds?] = []
    package private(set) var isShutDown = false
    package let wakeSignal = SimulatedWaker()
    /// Thrown by the next wait.
    package var waitError: SystemError?
    /// The most bytes that the kernel takes in each of the next `trySend` calls; then it is full.
    package var taken: [Int] = []
    /// Called once by the next wait, in place of another thread.
    package var duringWait: (() -> Void)?

    private var rules = SeamRules()
    private var lentDatagram = LentDatagram()
    private var turns: [[(Token, QueuedEvent)]] = []
    private var queue = CompletionQueue()
    private var loan: UnsafeMutableRawBufferPointer?

    package init() {}

    deinit { loan?.deallocate() }

    package var clock: Nanoseconds { now }
    /// Always nil: the loop asks the sockets.
    package var acceptedPeer: SocketAddress? { nil }
    package var waker: any Waker { wakeSignal }

    /// Rules of the seam that the loop broke, without those that a script breaks on purpose.
    package var violations: [String] { rules.loopViolations }

    /// Scripted completions that have not been pulled.
    package var remaining: Int { queue.count + turns.reduce(0) { $0 + $1.count } }

    /// Adds the completions that one further wait delivers.
    package func script(_ completions: [(Token, QueuedEvent)]) { turns.append(completions) }

    /// Adds completions that can be pulled without a further wait.
    package func scriptNow(_ completions: [(Token, QueuedEvent)]) {
        for (token, event) in completions { queue.append(.init(token: token, event: event)) }
    }

    /// Returns the requests since the last call.
    package func takeRequests() -> [Request] {
        defer { requests = [] }
        return requests
    }

    package func attach(_ descriptor: Descriptor, as token: Token) {
        rules.attach(descriptor, as: token)
        requests.append(.attach(descriptor, token))
    }

    package func submit(_ operation: Operation, for token: Token) {
        rules.submit(operation, for: token)
        let request: Request =
            switch operation {
            case .accept: .accept(token)
            case .receive: .receive(token)
            case .receiveDatagrams: .receiveDatagrams(token)
            case .connect(let address, let length):
                .connect(
                    Array(UnsafeRawBufferPointer(start: address, count: Int(length))), token)
            case .send(let bytes): .send(Array(bytes), token)
            case .stop(let kind): .stop(kind, token)
            case .watch: .watch(token)
            case .shutdownWrite: .shutdownWrite(token)
            case .close: .close(token)
            }
        requests.append(request)
    }

    package func flushSubmissions() {}

    /// Never answers at once: the script has the answer.
    package func send(_ bytes: UnsafeRawPointer, _ count: Int, for token: Token) -> Bool {
        submit(.send(UnsafeRawBufferPointer(start: bytes, count: count)), for: token)
        return false
    }

    package func trySend(_ bytes: UnsafeRawBufferPointer, for token: Token) -> Int {
        rules.trySend(for: token)
        guard !taken.isEmpty else { return 0 }
        let count = min(taken.removeFirst(), bytes.count)
        if count > 0 { requests.append(.sentAtOnce(Array(bytes.prefix(count)), token)) }
        return count
    }

    package func wait(until deadline: Nanoseconds?) throws(SystemError) {
        endLoan()
        deadlines.append(deadline)
        wakeSignal.consume()
        duringWait?()
        duringWait = nil
        if let error = waitError {
            waitError = nil
            throw error
        }
        if !turns.isEmpty { scriptNow(turns.removeFirst()) }
    }

    package func next() -> Completion? {
        endLoan()
        guard let entry = queue.takeFirst() else { return nil }
        let completion = Completion(
            entry.token, entry.event.event(lending: lend, datagram: { lentDatagram.lend($0) }))
        rules.deliver(completion)
        return completion
    }

    package var mayHoldInput: Bool { queue.count > 0 }

    package func shutDown() {
        endLoan()
        isShutDown = true
    }

    private func lend(_ bytes: [UInt8]) -> UnsafeRawPointer {
        let memory = UnsafeMutableRawBufferPointer.allocate(
            byteCount: bytes.count, alignment: 16)
        memory.copyBytes(from: bytes)
        loan = memory
        return UnsafeRawPointer(memory.baseAddress!)
    }

    /// Ends a loan. Each loan has its own memory, freed at its end, so that a sanitizer detects a
    /// late read.
    private func endLoan() {
        loan?.deallocate()
        loan = nil
        lentDatagram.end(poison: SimulatedDriver.poison)
    }
}
