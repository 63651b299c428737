internal import CMillraceURing
import Glibc
package import MillraceEventLoop

/// The completion backend. Multishot receives use buffers that the kernel picks from a ring, sends
/// keep their memory until they complete, and each turn has one kernel entry.
///
/// The kernel may use an operation's memory until the terminal completion, so it is released only
/// there. Operations are cancelled by their user data, which contains slot and generation, never by
/// descriptor.
package final class UringDriver: Driver {
    let ring: UnsafeMutablePointer<mr_ring>
    /// The sizes of the ring: smaller than requested where memory is limited.
    package let sizes: UringSizes
    package let counters = DriverCounters()
    @exclusivity(unchecked) var eventWaker: EventWaker?
    package var waker: any Waker { eventWaker ?? SpentWaker() }

    @exclusivity(unchecked) package private(set) var now: Nanoseconds
    package var clock: Nanoseconds { MonotonicClock.now }
    package var acceptedPeer: SocketAddress? { peerName.address }

    @exclusivity(unchecked) var entries = TokenTable<UringEntry>()
    /// Answers to stops and closes, and tries to receive or accept, none of which need a kernel
    /// completion.
    @exclusivity(unchecked) var ready = Fifo<Ready>(capacity: 256)
    /// Whether `ready` was served last. `ready` and the ring alternate, so that neither waits until
    /// the other is empty.
    @exclusivity(unchecked) private var servedReady = false
    /// Tries for after the next wait: a peer that sends without end has one per turn.
    @exclusivity(unchecked) var later = Fifo<Token>(capacity: 16)
    /// Cancellations that found no target.
    @exclusivity(unchecked) var failedCancels = Fifo<(Token, UringKind)>(capacity: 16)
    @exclusivity(unchecked) var peerName = PeerName()
    /// The connections that may still be accepted before the next wait.
    @exclusivity(unchecked) var acceptsLeft = acceptBudget
    /// The index of the buffer that is lent to the loop, or -1.
    @exclusivity(unchecked) var lentBuffer: Int32 = -1
    /// Whether `lentBuffer` is a datagram buffer.
    @exclusivity(unchecked) var isDatagramLent = false
    let lentDatagram: UnsafeMutablePointer<ReceivedDatagram>
    /// Receives that wait for a buffer, oldest first.
    @exclusivity(unchecked) var starved = Fifo<Token>(capacity: 16)
    /// Whether a receive ends after the bytes of one buffer and is armed again. A fast sender then
    /// cannot fill every buffer in one turn, and few bytes arrive after a stop. Where the kernel
    /// refuses the limit, streams are polled.
    let limitsReceives: Bool
    /// The buffer of every polled receive, which stays in the cache.
    @exclusivity(unchecked) var hotBuffer = LazyMemory(byteCount: Int(bufferSize))
    /// The buffers returned since waiting receives were last armed.
    @exclusivity(unchecked) private var returned = 0
    /// The number of operations whose terminal completion is still to come.
    @exclusivity(unchecked) var inFlight = 0
    @exclusivity(unchecked) var isOpen = true
    /// Thrown by the next wait.
    @exclusivity(unchecked) var failure: SystemError?
    /// The minimum wait in microseconds; 0 if the kernel has none.
    package let minimumWait: UInt32
    /// The waits since the kernel has last run its deferred work. Operations that complete while
    /// they are submitted, such as sends and failed cancellations, may fill the queue in each turn.
    /// Without that work nothing else would complete, not even what the cancellations are for.
    @exclusivity(unchecked) private var waitsBehind = 0
    /// The completion queue's head as of the last wait.
    @exclusivity(unchecked) private var lastHead: UInt32 = 0
    /// A dummy submission, for operations that the kernel no longer accepts.
    private let spare: UnsafeMutablePointer<io_uring_sqe>

    /// The number of bytes from which a send is tried at once instead of with the next kernel
    /// entry.
    static let largeSend = 8_192
    /// The most bytes of one send operation. Its length has 32 bits, and the kernel refuses a
    /// length of more than 31 bits. The loop sends the rest, like after any short send.
    static let largestSend = 1 << 30

    /// The connections that are accepted per turn. During a flood of connections, established ones
    /// are served after that many. The number is lower than on epoll, because a response leaves
    /// with the next wait. With 0.4 ms per accepted connection, p99 of the established ones was 20
    /// ms with 16, and 10 ms with 8.
    private static let acceptBudget = 8
    /// The most bytes of a receive before it is armed again, and the size of a buffer.
    package static let bufferSize: UInt32 = 131_072
    private static let mostWaitsBehind = 4
    /// The completions of a turn after which as many again are likely to follow. With fewer, the
    /// wait for more costs more than it saves.
    private static let busyBatch: UInt32 = 32

    /// Creates a driver. Runs on the thread that will use it: the kernel remembers that thread as
    /// the ring's only submitter. Throws if no eventfd or no ring can be made.
    ///
    /// After many completions, a wait continues for up to `minimumWait` microseconds in order to
    /// collect as many again.
    ///
    /// `features` are the kernel features to use, as far as this kernel has them.
    package convenience init(
        _ wanted: UringSizes = UringSizes(), minimumWait: UInt32 = 0,
        features: UringFeatures = .all
    ) throws(SystemError) {
        var features = features
        features.limitsReceives = features.limitsReceives && Self.canLimitReceives
        try self.init(wanted, minimumWait: minimumWait, trying: features)
    }

    /// Like the other initializer, but without the probe's findings about this kernel.
    init(
        _ wanted: UringSizes, minimumWait: UInt32 = 0, trying features: UringFeatures
    ) throws(SystemError) {
        limitsReceives = features.limitsReceives
        eventWaker = try EventWaker()
        let ring = UnsafeMutablePointer<mr_ring>.allocate(capacity: 1)
        ring.initialize(to: mr_ring())
        do throws(SystemError) {
            sizes = try Self.open(ring, wanted, features.taskWork)
        } catch {
            ring.deallocate()
            throw error
        }
        self.ring = ring
        // Allocated only now: an init that throws runs no deinit.
        lentDatagram = .allocate(capacity: 1)
        self.minimumWait =
            features.minimumWait && mr_has_minimum_wait(ring) ? minimumWait : 0
        spare = .allocate(capacity: 1)
        spare.initialize(to: io_uring_sqe())
        now = MonotonicClock.now
        armWaker()
    }

    /// Opens the ring, with smaller sizes if memory does not suffice: each ring uses locked memory,
    /// which RLIMIT_MEMLOCK limits on some machines.
    private static func open(
        _ ring: UnsafeMutablePointer<mr_ring>, _ wanted: UringSizes,
        _ taskWork: UringFeatures.TaskWork
    ) throws(SystemError) -> UringSizes {
        var sizes = wanted
        while true {
            var call: UnsafePointer<CChar>?
            let result = mr_ring_open(
                ring, taskWork.rawValue, sizes.submissions, sizes.completions, sizes.buffers,
                bufferSize, &call)
            if result >= 0 { return sizes }
            guard result == -ENOMEM, let smaller = sizes.halved else {
                let isSetup = call.map { strcmp($0, "io_uring_setup") == 0 } ?? true
                throw SystemError(-result, isSetup ? "io_uring_setup" : "io_uring_register")
            }
            sizes = smaller
        }
    }

    deinit {
        // Closed here only if the driver was never shut down; then only the waker's poll is in
        // flight.
        if isOpen { mr_ring_close(ring) }
        // Operations that are still in flight point into the ring.
        if isOpen || inFlight == 0 { ring.deallocate() }
        spare.deallocate()
        lentDatagram.deallocate()
    }

    package func attach(_ descriptor: Descriptor, as token: Token) {
        entries.attach(descriptor, as: token)
    }

    // MARK: Waiting

    package func wait(until deadline: Nanoseconds?) throws(SystemError) {
        giveBackLent()
        if let failure { throw failure }
        acceptsLeft = Self.acceptBudget
        let repeatsCancels = !failedCancels.isEmpty
        if repeatsCancels { repeatFailedCancels() }
        if !later.isEmpty { takeLaterTries() }
        let isBehind = mr_has_completions(ring)
        if !starved.isEmpty { resumeStarved(isBehind) }
        let overflows = mr_has_overflow(ring)
        if overflows { counters.completionOverflows.add() }
        if isBehind && !overflows && !repeatsCancels && waitsBehind < Self.mostWaitsBehind {
            // Completions that the kernel holds can wait until the queue is empty.
            waitsBehind += 1
            if mr_unsubmitted(ring) > 0 { try check(submitOnly()) }
        } else {
            waitsBehind = 0
            // Buffers may be free for receives that are still starved, so the wait must not block.
            let mayWait = ready.isEmpty && starved.isEmpty && !overflows && !isBehind
            try check(enter(until: mayWait ? deadline : .min))
        }
        now = clock
    }

    @inline(never)
    private func takeLaterTries() {
        while let token = later.popFirst() { ready.append(.attempt(token)) }
    }

    package func flushSubmissions() {
        guard isOpen else { return }
        // The next wait reports an error that persists.
        if mr_unsubmitted(ring) > 0 { _ = submitOnly() }
    }

    /// Returns the time left; negative without a deadline.
    private func nanoseconds(until deadline: Nanoseconds?) -> Int64 {
        guard let deadline else { return -1 }
        return deadline == .min ? 0 : max(0, deadline - clock)
    }

    /// Waits until the deadline. A signal does not end the wait: it was for another part of the
    /// process.
    private func enter(until deadline: Nanoseconds?) -> CInt {
        let batch = ring.pointee.head &- lastHead
        lastHead = ring.pointee.head
        let collects = minimumWait > 0 && batch >= Self.busyBatch
        while true {
            let left = nanoseconds(until: deadline)
            if left == 0 && !mr_has_work(ring) { return 0 }
            counters.kernelEntries.add()
            // The kernel checks the deadline only after the minimum wait.
            let minimum = left < 0 ? minimumWait : min(minimumWait, UInt32(clamping: left / 1000))
            let result =
                collects && minimum > 0
                ? mr_enter(ring, Self.busyBatch, left, minimum)
                : mr_enter(ring, left == 0 ? 0 : 1, left, 0)
            if result != -EINTR || mr_has_completions(ring) { return result }
        }
    }

    private func submitOnly() -> CInt {
        counters.kernelEntries.add()
        return mr_submit(ring)
    }

    /// Whether the result of io_uring_enter is an error of the ring. ETIME (the deadline) and EINTR
    /// are none. After EAGAIN and EBUSY, the next entry submits again.
    static func isLasting(_ result: CInt) -> Bool {
        result < 0 && ![ETIME, EINTR, EAGAIN, EBUSY].contains(-result)
    }

    private func check(_ result: CInt) throws(SystemError) {
        if Self.isLasting(result) { throw SystemError(-result, "io_uring_enter") }
    }

    @inline(__always)
    package func next() -> Completion? {
        giveBackLent()
        // The common case: input of a receive that stays armed, or bytes that were sent.
        if ready.isEmpty, let entry = mr_peek(ring) {
            let (token, kind) = UringKind.split(entry.pointee.user_data)
            if kind == UringKind.receive.rawValue {
                if let completion = plainReceive(entry, token) { return completion }
            } else if kind == UringKind.send.rawValue {
                if let completion = plainSend(entry, token) { return completion }
            }
        }
        return nextSlow()
    }

    @inline(never)
    private func nextSlow() -> Completion? {
        if !ready.isEmpty {
            servedReady.toggle()
            if servedReady, let completion = nextReady() { return completion }
        }
        while let entry = mr_peek(ring) {
            let (userData, result, flags) =
                (entry.pointee.user_data, entry.pointee.res, entry.pointee.flags)
            mr_seen(ring)
            if let completion = complete(userData, result, flags) { return completion }
        }
        while !ready.isEmpty {
            if let completion = nextReady() { return completion }
        }
        return nil
    }

    private func nextReady() -> Completion? {
        switch ready.popFirst() {
        case .completion(let completion): return completion
        case .attempt(let token): return attempt(token)
        case nil: return nil
        }
    }

    /// Whether completions may hold input. A receive by the ring removes bytes from the socket as
    /// they arrive, recv(2) only when they are pulled.
    package var mayHoldInput: Bool {
        limitsReceives && (mr_has_completions(ring) || mr_has_overflow(ring))
    }

    // MARK: Buffers

    @inline(__always)
    func giveBackLent() {
        guard lentBuffer >= 0 else { return }
        if isDatagramLent { return giveBackDatagram() }
        mr_give_buffer(ring, UInt32(truncatingIfNeeded: lentBuffer))
        lentBuffer = -1
        returned &+= 1
    }

    @inline(never)
    private func giveBackDatagram() {
        mr_give_datagram_buffer(ring, UInt32(lentBuffer))
        isDatagramLent = false
        lentBuffer = -1
        returned += 1
    }

    /// Returns the buffer of a completion that is dropped.
    func giveBack(_ flags: UInt32) {
        guard flags & UInt32(MR_CQE_BUFFER) != 0 else { return }
        mr_give_buffer(ring, flags >> UInt32(MR_CQE_BUFFER_SHIFT))
        returned += 1
    }

    /// Arms waiting receives, at most as many as buffers are known to be free. Without a free
    /// buffer a receive fails at once, even with nothing to receive.
    private func resumeStarved(_ isBehind: Bool) {
        // At least one: a stream that was polled until now has returned no buffer.
        var left = isBehind ? max(1, min(returned, Int(sizes.buffers))) : Int(sizes.buffers)
        returned = 0
        while left > 0, let token = starved.popFirst() {
            guard let entry = entries.find(token), entry.pointee.state.contains(.starved) else {
                continue
            }
            left -= 1
            entry.pointee.state.remove(.starved)
            if entry.pointee.state.contains(.receiving) { armReceive(entry) }
            if entry.pointee.state.contains(.receivingDatagrams) { armDatagrams(entry) }
        }
    }

    // MARK: Submissions

    @inline(__always)
    func submission() -> UnsafeMutablePointer<io_uring_sqe> {
        if let submission = mr_submission(ring) { return submission }
        return submissionAfterFlush()
    }

    /// Submits the full queue to make room, so that no operation is dropped. If the kernel accepts
    /// none, the next wait throws. A ring that has failed is not tried again: a loop that ends
    /// cancels thousands of operations.
    @inline(never)
    private func submissionAfterFlush() -> UnsafeMutablePointer<io_uring_sqe> {
        guard failure == nil else { return dropped() }
        var result: CInt = 0
        for attempt in 0..<1000 {
            counters.kernelEntries.add()
            // A kernel that accepts no more may first have to deliver completions.
            result = attempt == 0 ? mr_submit(ring) : mr_enter(ring, 0, 0, 0)
            if let submission = mr_submission(ring) { return submission }
            if Self.isLasting(result) { break }
        }
        failure = SystemError(result < 0 ? -result : EBUSY, "io_uring_enter")
        return dropped()
    }

    /// Returns the dummy submission.
    private func dropped() -> UnsafeMutablePointer<io_uring_sqe> {
        forgetDropped()
        return spare
    }

    /// Forgets the last operation that was prepared in the dummy submission: the kernel never gets
    /// it, so it has no terminal completion.
    func forgetDropped() {
        let kind = UringKind(rawValue: UringKind.split(spare.pointee.user_data).kind)
        if kind?.isOperation == true { inFlight -= 1 }
        spare.pointee.user_data = 0
    }
}

/// A completion or a try that does not come from the kernel's completion queue.
enum Ready {
    case completion(Completion)
    /// A try to receive or accept. Its result is known only when it runs.
    case attempt(Token)
}
