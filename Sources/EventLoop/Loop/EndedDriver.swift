/// Stands where a loop that has ended had its driver: who keeps such a loop, or a connection of it,
/// keeps no descriptor and no buffer of the kernel's with it.
final class EndedDriver: Driver {
    let now: Nanoseconds
    let counters = DriverCounters()
    let waker: any Waker = NoWaker()

    /// The time at which the loop ended.
    init(now: Nanoseconds) { self.now = now }

    var clock: Nanoseconds { now }
    var acceptedPeer: SocketAddress? { nil }

    func attach(_ descriptor: Descriptor, as token: Token) {}
    func submit(_ operation: Operation, for token: Token) {}
    func send(_ bytes: UnsafeRawPointer, _ count: Int, for token: Token) -> Bool { false }
    func sendNow(_ bytes: UnsafeRawBufferPointer, for token: Token) -> Int { 0 }
    func wait(until deadline: Nanoseconds?) throws(SystemError) {}
    func handOver() {}
    func next() -> Completion? { nil }
    func shutDown() {}

    private final class NoWaker: Waker {
        func wake() {}
    }
}
