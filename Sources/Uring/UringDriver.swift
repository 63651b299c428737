internal import CURing
package import EventLoop
import Glibc

/// The completion backend: multishot receives into buffers that the kernel picks from a ring, sends
/// that keep their memory until they complete, and one kernel entry per turn.
///
/// Memory of an operation is the kernel's until its terminal completion, which is the only place
/// where it is let go. Operations are cancelled by their user data, which carries slot and
/// generation, never by descriptor.
package final class UringDriver: Driver {
    let ring: UnsafeMutablePointer<mr_ring>
    /// What the ring was made with: less than was asked for where memory is limited.
    package let sizes: UringSizes
    package let counters = DriverCounters()
    @exclusivity(unchecked) private(set) var eventWaker: EventWaker?
    package var waker: any Waker { eventWaker ?? SpentWaker() }

    @exclusivity(unchecked) package private(set) var now: Nanoseconds
    package var clock: Nanoseconds { MonotonicClock.now }
    package var acceptedPeer: SocketAddress? { peerName.address }

    @exclusivity(unchecked) var entries = TokenTable<UringEntry>()
    /// What needs no completion of the kernel: answers to stops and closes, and tries to receive or
    /// to accept.
    @exclusivity(unchecked) var ready = Fifo<Ready>(capacity: 256)
    /// Whether `ready` was served last: it and the ring take turns, so that neither waits for the
    /// other to run dry.
    @exclusivity(unchecked) private var servedReady = false
    /// Tries that wait for the next wait: so a peer without end has one in each turn.
    @exclusivity(unchecked) var later = Fifo<Token>(capacity: 16)
    /// Cancellations that found no target.
    @exclusivity(unchecked) var failedCancels = Fifo<(Token, UringKind)>(capacity: 16)
    @exclusivity(unchecked) var peerName = PeerName()
    /// Connections that may still be accepted before the next wait.
    @exclusivity(unchecked) var acceptsLeft = acceptBudget
    /// The buffer whose bytes the loop is looking at, or -1.
    @exclusivity(unchecked) var lentBuffer: Int32 = -1
    /// It is one of those for datagrams.
    @exclusivity(unchecked) var isDatagramLent = false
    let lentDatagram: UnsafeMutablePointer<ReceivedDatagram>
    /// Who found no buffer, in the order in which that happened.
    @exclusivity(unchecked) var starved = Fifo<Token>(capacity: 16)
    /// After the bytes of one buffer a receive ends and is armed again: so a sender without end
    /// cannot take every buffer in one turn, and little more comes after a stop. Where the kernel
    /// refuses that, streams are polled for.
    let limitsReceives: Bool
    /// Where polled streams are received, always in the cache.
    let hotBuffer: UnsafeMutableRawPointer?
    /// Buffers given back since the starved were last served.
    @exclusivity(unchecked) private var returned = 0
    /// Operations whose terminal completion is still to come.
    @exclusivity(unchecked) var inFlight = 0
    @exclusivity(unchecked) private var isOpen = true
    /// Told by the next wait.
    @exclusivity(unchecked) private var failure: SystemError?
    /// In microseconds; 0 where the kernel knows none.
    package let minimumWait: UInt32
    /// The completion queue's head as of the last wait.
    @exclusivity(unchecked) private var lastHead: UInt32 = 0
    /// Where an operation goes that the kernel no longer takes.
    private let spare: UnsafeMutablePointer<io_uring_sqe>

    /// Bytes from which a send is tried at once instead of with the next kernel entry.
    static let largeSend = 8_192
    /// Bytes of one send operation at most: its length has 32 bits, and the kernel refuses more
    /// than it counts in 31. The rest is the loop's to continue, as after any short send.
    static let largestSend = 1 << 30

    /// Connections that are accepted in a turn: under a flood of them, those that are established
    /// have their turn after so many. Fewer than on epoll, since an answer goes out with the next
    /// wait: with 0.4 ms for each, p99 of the established was 20 ms with 16, and 10 ms with 8.
    private static let acceptBudget = 8
    /// As much as a receive may bring before it is armed again.
    package static let bufferSize: UInt32 = 131_072
    /// Completions of a turn after which so many more are likely to be on their way. With fewer, a
    /// wait for what does not come costs more than it saves.
    private static let busyBatch: UInt32 = 32

    /// On the thread that will use it: the kernel knows the ring's only submitter by that.
    ///
    /// After many completions, a wait goes on for up to `minimumWait` microseconds in order to
    /// collect as many again.
    ///
    /// `features` are those to use of what this kernel has.
    package convenience init(
        _ wanted: UringSizes = UringSizes(), minimumWait: UInt32 = 0,
        features: UringFeatures = .all
    ) throws(SystemError) {
        var features = features
        features.limitsReceives = features.limitsReceives && Self.canLimitReceives
        try self.init(wanted, minimumWait: minimumWait, trying: features)
    }

    /// The same without a look at what has been found out about this kernel.
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
        // Only now: an init that throws runs no deinit.
        lentDatagram = .allocate(capacity: 1)
        hotBuffer =
            limitsReceives
            ? nil : .allocate(byteCount: Int(Self.bufferSize), alignment: 4096)
        self.minimumWait =
            features.minimumWait && mr_has_minimum_wait(ring) ? minimumWait : 0
        spare = .allocate(capacity: 1)
        spare.initialize(to: io_uring_sqe())
        now = MonotonicClock.now
        armWaker()
    }

    /// Locked memory is limited on some machines, and every ring takes of it (RLIMIT_MEMLOCK).
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
        // Only if nobody has shut it down: then nothing is in flight but the waker's poll.
        if isOpen {
            mr_ring_close(ring)
            hotBuffer?.deallocate()
        }
        // What is in flight after all points into it.
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
        if !failedCancels.isEmpty { repeatFailedCancels() }
        if !later.isEmpty { takeLaterTries() }
        let isBehind = mr_has_completions(ring)
        if !starved.isEmpty { feedStarved(isBehind) }
        let overflows = mr_has_overflow(ring)
        if overflows { counters.completionOverflows.add() }
        if isBehind && !overflows {
            // What the kernel still holds can wait until the queue has been worked off.
            if mr_unsubmitted(ring) > 0 { try check(submitOnly()) }
        } else {
            // Whoever is starved still has not been armed: buffers may be free for it.
            let mayWait = ready.isEmpty && starved.isEmpty && !overflows
            try check(enter(until: mayWait ? deadline : .min))
        }
        now = clock
    }

    @inline(never)
    private func takeLaterTries() {
        while let token = later.popFirst() { ready.append(.attempt(token)) }
    }

    package func handOver() {
        guard isOpen else { return }
        // What keeps the kernel from taking it now is told by the next wait.
        if mr_unsubmitted(ring) > 0 { _ = submitOnly() }
    }

    /// Negative: without end.
    private func nanoseconds(until deadline: Nanoseconds?) -> Int64 {
        guard let deadline else { return -1 }
        return deadline == .min ? 0 : max(0, deadline - clock)
    }

    /// Not ended by a signal: that was for somebody else.
    private func enter(until deadline: Nanoseconds?) -> CInt {
        let batch = ring.pointee.head &- lastHead
        lastHead = ring.pointee.head
        let collects = minimumWait > 0 && batch >= Self.busyBatch
        while true {
            let left = nanoseconds(until: deadline)
            if left == 0 && !mr_has_work(ring) { return 0 }
            counters.kernelEntries.add()
            // The kernel looks at the deadline only when the minimum has passed.
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

    /// A time that ran out and a signal are no failures, and what the kernel was too busy for now
    /// it takes at the next entry.
    private func check(_ result: CInt) throws(SystemError) {
        guard result < 0, ![ETIME, EINTR, EAGAIN, EBUSY].contains(-result) else { return }
        throw SystemError(-result, "io_uring_enter")
    }

    @inline(__always)
    package func next() -> Completion? {
        giveBackLent()
        // Most of the time: input with more to follow, or bytes that went out.
        if ready.isEmpty, let entry = mr_peek(ring) {
            let (token, kind) = UringKind.split(entry.pointee.user_data)
            if kind == UringKind.receive.rawValue {
                if let completion = plainReceive(entry, token) { return completion }
            } else if kind == UringKind.send.rawValue {
                if let completion = plainSend(entry, token) { return completion }
            }
        }
        return nextOfAny()
    }

    @inline(never)
    private func nextOfAny() -> Completion? {
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

    /// A receive by the ring takes bytes out of the socket as they come; recv(2) when they are
    /// pulled.
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

    /// Of a completion that nobody will look at.
    func giveBack(_ flags: UInt32) {
        guard flags & UInt32(MR_CQE_BUFFER) != 0 else { return }
        mr_give_buffer(ring, flags >> UInt32(MR_CQE_BUFFER_SHIFT))
        returned += 1
    }

    /// Without a free buffer a receive would fail at once, even with nothing to receive, so no
    /// more are armed than buffers are known to be free.
    private func feedStarved(_ isBehind: Bool) {
        var left = isBehind ? min(returned, Int(sizes.buffers)) : Int(sizes.buffers)
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

    /// The queue is full: the kernel takes what is in it, and nothing is ever dropped.
    @inline(never)
    private func submissionAfterFlush() -> UnsafeMutablePointer<io_uring_sqe> {
        var result: CInt = 0
        for attempt in 0..<1000 {
            counters.kernelEntries.add()
            // While it cannot take more, it may first have to hand over completions.
            result = attempt == 0 ? mr_submit(ring) : mr_enter(ring, 0, 0, 0)
            if let submission = mr_submission(ring) { return submission }
        }
        failure = SystemError(result < 0 ? -result : EBUSY, "io_uring_enter")
        return spare
    }

    // MARK: The end

    package func shutDown() {
        guard isOpen else { return }
        isOpen = false
        giveBackLent()
        entries.forEachAttached { $0.pointee.state = [.closing] }
        mr_prepare_cancel_all(
            submission(), UringKind.cancelAll.userData(Token(slot: 0, generation: 0)))
        // Cancelled operations end at once; the bound is for a kernel that does not keep its word.
        for _ in 0..<100 where inFlight > 0 {
            _ = mr_enter(ring, 1, 10_000_000, 0)
            while let entry = mr_peek(ring) {
                drop(entry.pointee.user_data, entry.pointee.res, entry.pointee.flags)
                mr_seen(ring)
            }
        }
        entries.forEachAttached { Glibc.close($0.pointee.descriptor) }
        entries.removeAll()
        // Rather a leak than memory that the kernel may still write to.
        if inFlight == 0 { mr_ring_close(ring) }
        hotBuffer?.deallocate()
        eventWaker = nil
    }

    private func drop(_ userData: UInt64, _ result: Int32, _ flags: UInt32) {
        let kind = UringKind(rawValue: UringKind.split(userData).kind)
        if kind?.isOperation == true && flags & UInt32(MR_CQE_MORE) == 0 { inFlight -= 1 }
    }
}

/// What a driver has to hand over without the kernel's completion queue.
enum Ready {
    case completion(Completion)
    /// To receive or to accept; what comes of it is seen then.
    case attempt(Token)
}
