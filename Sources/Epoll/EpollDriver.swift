import CMillraceLinux
import Glibc
package import MillraceEventLoop

/// The readiness backend: level-triggered epoll, one registration per descriptor.
///
/// Sends and connects are tried at once, and registered for only if they would block. Receives and
/// accepts wait for EPOLLIN. Level-triggered epoll reports an event again if a spent budget left it
/// unfinished, so no peer is forgotten.
package final class EpollDriver: Driver {
    private let epoll: CInt
    @exclusivity(unchecked) private var eventWaker: EventWaker?
    package var waker: any Waker { eventWaker ?? SpentWaker() }

    @exclusivity(unchecked) package private(set) var now: Nanoseconds

    package var clock: Nanoseconds { MonotonicClock.now }
    package var acceptedPeer: SocketAddress? { peerName.address }

    @exclusivity(unchecked) private var peerName = PeerName()
    /// The connections that the current event's listener may still accept.
    @exclusivity(unchecked) private var acceptsLeft = acceptBudget
    /// The events of the last epoll_wait; `eventIndex` is the next one to handle.
    @exclusivity(unchecked) private let events: UnsafeMutablePointer<epoll_event>
    @exclusivity(unchecked) private var eventCount = 0
    @exclusivity(unchecked) private var eventIndex = 0
    /// Completions that are ready without an event.
    @exclusivity(unchecked) var ready = Fifo<Completion>(capacity: 256)
    /// Whether `ready` was served last. `ready` and the events alternate, so that neither waits
    /// until the other is empty.
    @exclusivity(unchecked) private var servedReady = false
    /// The buffer of every receive: a single one, which stays in the cache.
    @exclusivity(unchecked) private let scratch: UnsafeMutableRawPointer
    @exclusivity(unchecked) var datagrams = DatagramBatch()
    @exclusivity(unchecked) private var entries = TokenTable<EpollEntry>()
    package let counters = DriverCounters()

    /// The most bytes of one receive: two chunks. With deep pipelines of large requests, one
    /// receive that empties the socket costs half as much as several smaller ones. Twice this size
    /// gains little.
    package static let receiveCapacity = 131_072
    private static let eventCapacity = 256
    /// The connections that one listener accepts per turn. During a flood of connections,
    /// established ones are served after that many.
    private static let acceptBudget = 16

    package init() throws(SystemError) {
        epoll = epoll_create1(CInt(MR_SOCK_CLOEXEC))
        guard epoll >= 0 else { throw SystemError(errno, "epoll_create1") }
        let waker: EventWaker
        do throws(SystemError) {
            waker = try EventWaker()
        } catch {
            Glibc.close(epoll)
            throw error
        }
        eventWaker = waker
        events = .allocate(capacity: Self.eventCapacity)
        scratch = .allocate(byteCount: Self.receiveCapacity, alignment: 4096)
        now = MonotonicClock.now
        var event = epoll_event()
        mr_epoll_event_set(&event, UInt32(MR_EPOLLIN), EventWaker.word)
        guard epoll_ctl(epoll, EPOLL_CTL_ADD, waker.descriptor, &event) == 0 else {
            throw SystemError(errno, "epoll_ctl")
        }
    }

    deinit { shutDown() }

    package func attach(_ descriptor: Descriptor, as token: Token) {
        entries.attach(descriptor, as: token)
    }

    package func submit(_ operation: Operation, for token: Token) {
        guard let entry = entries.find(token) else { return }
        switch operation {
        case .send(let bytes):
            guard let start = bytes.baseAddress, take(start, bytes.count, entry) else { break }
            ready.append(Completion(token, .sent(bytes.count)))
        case .receive:
            entry.pointee.isWatched = false
            entry.pointee.streams.insert(.receive)
        case .accept: entry.pointee.streams.insert(.accept)
        case .receiveDatagrams: entry.pointee.streams.insert(.datagrams)
        case .connect(let address, let length): startConnecting(entry, address, length)
        case .stop(let kind):
            // If the stream has already ended by itself, that end was its last completion.
            guard entry.pointee.streams.remove(EpollStreams(kind)) != nil else { return }
            // The datagrams of the same batch are delivered before `stopped`.
            if kind == .datagrams && datagrams.stop(token) { break }
            ready.append(Completion(token, .stopped(kind)))
        case .watch:
            entry.pointee.isWatched = true
            // EPOLLERR and EPOLLHUP are reported without interest, but only to a registered
            // descriptor.
            if !entry.pointee.isRegistered { tellKernel(entry, token, 0) }
        case .shutdownWrite: Glibc.shutdown(entry.pointee.descriptor, CInt(SHUT_WR))
        case .close: return close(entry, token)
        }
        register(entry, token)
    }

    package func send(_ bytes: UnsafeRawPointer, _ count: Int, for token: Token) -> Bool {
        guard let entry = entries.find(token) else { return false }
        return take(bytes, count, entry)
    }

    package func trySend(_ bytes: UnsafeRawBufferPointer, for token: Token) -> Int {
        guard let entry = entries.find(token), !entry.pointee.isFull else { return 0 }
        precondition(entry.pointee.pendingSend == nil, "two sends in flight")
        let result = mr_send(entry.pointee.descriptor, bytes.baseAddress, bytes.count)
        entry.pointee.isFull = result < bytes.count
        if result < 0 && ![EAGAIN, EINTR].contains(CInt(-result)) {
            entry.pointee.sendError.note(CInt(-result))
        }
        return max(0, result)
    }

    /// Does nothing: `submit` makes its calls at once.
    package func flushSubmissions() {}

    /// Always false: `next()` returns a stream's bytes as soon as it has received them.
    package var mayHoldInput: Bool { false }

    package func wait(until deadline: Nanoseconds?) throws(SystemError) {
        guard eventIndex == eventCount && datagrams.owner == .none else {
            now = clock
            return
        }
        counters.kernelEntries.add()
        var count: CInt
        repeat {
            let timeout = ready.isEmpty ? milliseconds(until: deadline) : 0
            count = epoll_wait(epoll, events, CInt(Self.eventCapacity), timeout)
            // EINTR: the signal was for another part of the process. An io_uring of the process
            // causes it too.
        } while count < 0 && errno == EINTR
        guard count >= 0 else { throw SystemError(errno, "epoll_wait") }
        eventCount = Int(count)
        eventIndex = 0
        acceptsLeft = Self.acceptBudget
        now = clock
    }

    /// Returns the timeout of epoll_wait, or -1 without a deadline. It is rounded up: otherwise
    /// about a dozen waits would return empty before each deadline.
    private func milliseconds(until deadline: Nanoseconds?) -> CInt {
        guard let deadline else { return -1 }
        let left = deadline - clock
        return left <= 0 ? 0 : CInt(min((left + 999_999) / 1_000_000, 86_400_000))
    }

    @inline(__always)
    package func next() -> Completion? {
        // The common case: `ready` is empty, and the next event is input.
        if ready.isEmpty && eventIndex < eventCount {
            let event = events + eventIndex
            let token = Token(word: mr_epoll_event_data(event))
            if let entry = entries.find(token),
                mr_epoll_event_events(event) == UInt32(MR_EPOLLIN),
                entry.pointee.streams == .receive
            {
                // One receive per event, so that a fast sender does not delay the other sockets.
                eventIndex &+= 1
                let count = mr_recv(entry.pointee.descriptor, scratch, Self.receiveCapacity)
                if count > 0 { return received(token, count) }
                return receiveEnded(entry, token, count) ?? nextSlow()
            }
        }
        return nextSlow()
    }

    @inline(never)
    private func nextSlow() -> Completion? {
        if !ready.isEmpty {
            servedReady.toggle()
            if servedReady { return ready.popFirst() }
        }
        if let completion = nextOfBatch() { return completion }
        while eventIndex < eventCount {
            if let completion = complete(events + eventIndex) { return completion }
            eventIndex &+= 1
            acceptsLeft = Self.acceptBudget
        }
        return ready.popFirst()
    }

    /// Returns the next datagram of the last batch, or its `stopped`. A batch is delivered before
    /// any other receive.
    @inline(__always)
    private func nextOfBatch() -> Completion? {
        let token = datagrams.owner
        guard token != .none else { return nil }
        if let datagram = datagrams.next() { return Completion(token, .datagram(datagram)) }
        return datagrams.end() ? Completion(token, .stopped(.datagrams)) : nil
    }

    package func shutDown() {
        guard eventWaker != nil else { return }
        eventWaker = nil
        entries.forEachAttached { Glibc.close($0.pointee.descriptor) }
        entries.removeAll()
        _ = datagrams.end()
        eventCount = 0
        eventIndex = 0
        Glibc.close(epoll)
        events.deallocate()
        scratch.deallocate()
    }

    // MARK: Events

    /// Returns the next completion of an event, sends first, or nil when the event is finished.
    private func complete(_ event: UnsafeMutablePointer<epoll_event>) -> Completion? {
        let token = Token(word: mr_epoll_event_data(event))
        guard let entry = entries.find(token) else {
            if token.word == EventWaker.word { eventWaker?.reset() }
            return nil
        }
        let reported = mr_epoll_event_events(event)
        let trouble = UInt32(MR_EPOLLHUP | MR_EPOLLERR)
        if reported & (UInt32(MR_EPOLLOUT) | trouble) != 0 {
            // One send per event, so that a peer that reads as fast as the driver sends does not
            // delay the others.
            mr_epoll_event_set(event, reported & ~UInt32(MR_EPOLLOUT), token.word)
            if entry.pointee.isConnecting { return finishConnecting(entry, token) }
            if entry.pointee.pendingSend == nil {
                entry.pointee.isFull = false
                register(entry, token)
            } else if let completion = completeSend(entry, token) {
                return completion
            }
        }
        let readable = reported & (UInt32(MR_EPOLLIN) | trouble) != 0
        if readable && entry.pointee.streams.contains(.receive) {
            let count = mr_recv(entry.pointee.descriptor, scratch, Self.receiveCapacity)
            let completion =
                count > 0 ? received(token, count) : receiveEnded(entry, token, count)
            if completion != nil { eventIndex &+= 1 }
            return completion
        }
        if readable && entry.pointee.streams.contains(.accept) {
            return nextAccepted(entry, token)
        }
        if readable && entry.pointee.streams.contains(.datagrams) {
            let completion = completeDatagram(entry, token)
            if completion != nil { eventIndex &+= 1 }
            return completion
        }
        if reported & trouble != 0 {
            unregisterTrouble(entry)
            return hungUp(entry, token)
        }
        register(entry, token)
        return nil
    }

    private func hungUp(
        _ entry: UnsafeMutablePointer<EpollEntry>, _ token: Token
    ) -> Completion? {
        guard entry.pointee.isWatched else { return nil }
        entry.pointee.isWatched = false
        return Completion(token, .hungUp(mr_take_error(entry.pointee.descriptor)))
    }

    /// Removes the registration if no send is pending. No operation waits for this event, and
    /// EPOLLHUP cannot be masked. A registered descriptor would therefore end every wait at once.
    private func unregisterTrouble(_ entry: UnsafeMutablePointer<EpollEntry>) {
        guard entry.pointee.isRegistered, entry.pointee.pendingSend == nil else { return }
        epoll_ctl(epoll, EPOLL_CTL_DEL, entry.pointee.descriptor, nil)
        entry.pointee.isRegistered = false
        entry.pointee.interest = 0
    }

    /// Updates the kernel's interest to the events that operations wait for. If that fails, each of
    /// these operations completes with `failed` and the error.
    @inline(__always)
    func register(_ entry: UnsafeMutablePointer<EpollEntry>, _ token: Token) {
        let wanted = entry.pointee.wantedInterest
        if wanted != entry.pointee.interest || (wanted != 0 && !entry.pointee.isRegistered) {
            tellKernel(entry, token, wanted)
        }
    }

    @inline(never)
    private func tellKernel(
        _ entry: UnsafeMutablePointer<EpollEntry>, _ token: Token, _ wanted: UInt32
    ) {
        var event = epoll_event()
        mr_epoll_event_set(&event, wanted, token.word)
        let command = entry.pointee.isRegistered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD
        guard epoll_ctl(epoll, command, entry.pointee.descriptor, &event) == 0 else {
            return registrationFailed(entry, token, SystemError(errno, "epoll_ctl"))
        }
        entry.pointee.interest = wanted
        entry.pointee.isRegistered = true
    }

    private func registrationFailed(
        _ entry: UnsafeMutablePointer<EpollEntry>, _ token: Token, _ error: SystemError
    ) {
        if entry.pointee.pendingSend != nil {
            entry.pointee.pendingSend = nil
            ready.append(Completion(token, .failed(.send, error)))
        }
        let kinds: [(EpollStreams, OperationKind)] = [
            (.receive, .receive), (.accept, .accept), (.datagrams, .datagrams),
        ]
        for (stream, operation) in kinds where entry.pointee.streams.remove(stream) != nil {
            ready.append(Completion(token, .failed(operation, error)))
        }
        if entry.pointee.isConnecting {
            entry.pointee.isConnecting = false
            ready.append(Completion(token, .failed(.connect, error)))
        }
    }

    // MARK: Receive and accept

    @inline(__always)
    private func received(_ token: Token, _ count: Int) -> Completion {
        Completion(token, .received(scratch, count: count))
    }

    @inline(never)
    private func receiveEnded(
        _ entry: UnsafeMutablePointer<EpollEntry>, _ token: Token, _ result: Int
    ) -> Completion? {
        // Epoll is level-triggered: it reports an interrupted receive again.
        if result == -Int(EINTR) || result == -Int(EAGAIN) { return nil }
        // No epoll_ctl here: most sockets are closed next, which deregisters them. Otherwise the
        // same event comes once more, and no operation waits for it.
        entry.pointee.streams.remove(.receive)
        if result == 0 { return Completion(token, entry.pointee.sendError.endOfStream) }
        return Completion(token, .failed(.receive, SystemError(Int32(-result), "recv")))
    }

    /// Accepts one connection. The event stays current until the backlog is empty or the budget is
    /// spent. Epoll is level-triggered: the next wait reports a backlog that is not empty.
    private func nextAccepted(
        _ entry: UnsafeMutablePointer<EpollEntry>, _ token: Token
    ) -> Completion? {
        guard acceptsLeft > 0 else { return nil }
        acceptsLeft -= 1
        return completeAccept(entry, token)
    }

    private func completeAccept(
        _ entry: UnsafeMutablePointer<EpollEntry>, _ token: Token
    ) -> Completion? {
        while true {
            let number = peerName.accept(on: entry.pointee.descriptor)
            if number >= 0 { return Completion(token, .accepted(Descriptor(number))) }
            switch AcceptError(errno) {
            case .nobodyWaits: return nil
            case .passing: continue
            case .lasting(let error):
                entry.pointee.streams.remove(.accept)
                register(entry, token)
                return Completion(token, .failed(.accept, error))
            }
        }
    }

    // MARK: Close

    private func close(_ entry: UnsafeMutablePointer<EpollEntry>, _ token: Token) {
        // If a forked child holds the descriptor too, close(2) alone would leave the registration.
        if entry.pointee.isRegistered {
            epoll_ctl(epoll, EPOLL_CTL_DEL, entry.pointee.descriptor, nil)
        }
        Glibc.close(entry.pointee.descriptor)
        if datagrams.owner == token { _ = datagrams.end() }
        entries.detach(entry)
        ready.append(Completion(token, .closed))
    }
}
