import Glibc
import MillraceEventLoop
import MillraceSimulation

/// A driver without a kernel for a loop on a thread of its own: streams end and descriptors close
/// when the loop wants it, and each wait moves the clock to its deadline. Nothing else happens.
final class ThreadDriver: Driver {
    private let script = ScriptedDriver()

    var counters: DriverCounters { script.counters }
    var now: Nanoseconds { script.now }
    var clock: Nanoseconds { script.clock }
    var acceptedPeer: SocketAddress? { script.acceptedPeer }
    var waker: any Waker { script.waker }
    var mayHoldInput: Bool { script.mayHoldInput }

    func attach(_ descriptor: Descriptor, as token: Token) { script.attach(descriptor, as: token) }

    func submit(_ operation: Operation, for token: Token) {
        script.submit(operation, for: token)
        switch operation {
        case .stop(let kind): script.scriptNow([(token, .stopped(kind))])
        case .close: script.scriptNow([(token, .closed)])
        case .accept, .receive, .receiveDatagrams, .connect, .send, .watch, .shutdownWrite: break
        }
    }

    func send(_ bytes: UnsafeRawPointer, _ count: Int, for token: Token) -> Bool {
        script.send(bytes, count, for: token)
    }

    func trySend(_ bytes: UnsafeRawBufferPointer, for token: Token) -> Int {
        script.trySend(bytes, for: token)
    }

    func flushSubmissions() { script.flushSubmissions() }

    func wait(until deadline: Nanoseconds?) throws(SystemError) {
        if script.remaining == 0 {
            // The other threads' turn.
            usleep(100)
            if let deadline { script.now = max(script.now, deadline) }
        }
        try script.wait(until: deadline)
    }

    func next() -> Completion? { script.next() }
    func shutDown() { script.shutDown() }
}
