import Glibc
import MillraceEventLoop

/// A driver like one over a kernel with a known fault.
final class FaultyDriver: Driver {
    enum Fault {
        /// The end of a stream is lost behind bytes, as on Linux 6.17 before a68ed2df7213.
        case losesEnds
        /// A multishot receive has no limit, as before Linux 6.17.
        case refusesLimits
        /// Datagrams are not received by a multishot operation, as before Linux 6.0.
        case refusesDatagrams
    }

    private let inner: any Driver
    private let fault: Fault
    private var refusals: [Completion] = []
    private var received: Set<Token> = []

    init(_ inner: any Driver, _ fault: Fault) {
        self.inner = inner
        self.fault = fault
    }

    var now: Nanoseconds { inner.now }
    var clock: Nanoseconds { inner.clock }
    var mayHoldInput: Bool { inner.mayHoldInput }
    var acceptedPeer: SocketAddress? { inner.acceptedPeer }
    var waker: any Waker { inner.waker }
    var counters: DriverCounters { inner.counters }

    func attach(_ descriptor: Descriptor, as token: Token) { inner.attach(descriptor, as: token) }

    func submit(_ operation: Operation, for token: Token) {
        switch (fault, operation) {
        case (.refusesLimits, .receive):
            refusals.append(Completion(token, .failed(.receive, SystemError(EINVAL, "recv"))))
        case (.refusesDatagrams, .receiveDatagrams):
            refusals.append(Completion(token, .failed(.datagrams, SystemError(EINVAL, "recvmsg"))))
        default: inner.submit(operation, for: token)
        }
    }

    func send(_ bytes: UnsafeRawPointer, _ count: Int, for token: Token) -> Bool {
        inner.send(bytes, count, for: token)
    }

    func trySend(_ bytes: UnsafeRawBufferPointer, for token: Token) -> Int {
        inner.trySend(bytes, for: token)
    }

    func wait(until deadline: Nanoseconds?) throws(SystemError) {
        try inner.wait(until: refusals.isEmpty ? deadline : inner.clock)
    }

    func flushSubmissions() { inner.flushSubmissions() }

    func next() -> Completion? {
        guard refusals.isEmpty else { return refusals.removeFirst() }
        while let completion = inner.next() {
            switch completion.event {
            case .received: received.insert(completion.token)
            case .endOfStream where fault == .losesEnds && received.contains(completion.token):
                continue
            default: break
            }
            return completion
        }
        return nil
    }

    func shutDown() { inner.shutDown() }
}
