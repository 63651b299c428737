import Glibc
import MillraceEventLoop

/// The work of the simulated driver: when each operation completes, with how many bytes, or not at
/// all.
extension SimulatedDriver {
    // MARK: Submitting

    func startStream(_ kind: StreamKind, on port: Port) {
        switch (kind, port.socket.kind) {
        case (.accept, .listener), (.receive, .stream), (.datagrams, .datagrams):
            port.watchTime = nil
            port.stream = .running(readyTime: laterTime())
        case (.accept, .stream), (.accept, .datagrams):
            push(port, .failed(.accept, SystemError(EINVAL, "accept4")))
        case (.receive, .listener), (.receive, .datagrams):
            push(port, .failed(.receive, SystemError(ENOTCONN, "recv")))
        case (.receive, .unconnected):
            push(port, .failed(.receive, SystemError(ENOTCONN, "recv")))
        case (.accept, .unconnected):
            push(port, .failed(.accept, SystemError(EINVAL, "accept4")))
        case (.datagrams, _):
            push(port, .failed(.datagrams, SystemError(EOPNOTSUPP, "recvmsg")))
        }
    }

    /// Whether a send is answered at once: only if all bytes are sure to be accepted. Any other
    /// send needs a completion.
    func canTakeAtOnce(_ bytes: some Collection<UInt8>, _ port: Port) -> Bool {
        guard port.closeTime == nil, case .none = port.send,
            port.endpoint?.room ?? 0 >= bytes.count
        else { return false }
        return random.happens(plan.takesAtOnce)
    }

    func startSend(_ bytes: UnsafeRawBufferPointer, on port: Port) {
        // A second send is a violation, which is recorded already. Only the first one is answered.
        guard case .none = port.send else { return }
        port.send = .waiting(SendMemory(bytes), readyTime: laterTime())
        if random.happens(plan.sendsAtOnce) { performSend(port) }
    }

    func startStop(_ kind: StreamKind, on port: Port) {
        guard case .running(let readyTime) = port.stream else { return }
        if random.happens(plan.endsAtOnce) {
            port.stream = .none
            push(port, .stopped(kind))
        } else {
            port.stream = .stopping(readyTime: readyTime, stopTime: laterTime())
        }
    }

    func startClose(_ port: Port) {
        port.closeTime = random.happens(plan.endsAtOnce) ? network.now : laterTime()
        if random.happens(plan.endsAtOnce) { performClose(port) }
    }

    // MARK: Waiting

    /// Makes completions of the work that is due, up to the plan's number for one wait.
    func gather() {
        slipInStale()
        var due: [(port: Port, work: Port.Work)] = []
        awake.removeAll { port in
            guard let next = port.nextWorkTime else {
                port.isAwake = false
                return true
            }
            if next <= network.now { due += port.dueWork(at: network.now).map { (port, $0) } }
            return false
        }
        if plan.shuffles { random.shuffle(&due) }
        let limit = random.within(plan.completions)
        for (port, work) in due {
            guard queue.count < limit else { return }
            // Earlier work of this turn may have ended it: a close, or the end of a stream.
            guard let time = port.time(of: work), time <= network.now else { continue }
            perform(work, port, limit)
        }
    }

    private func perform(_ work: Port.Work, _ port: Port, _ limit: Int) {
        switch work {
        case .stream:
            // Several in a row, like from a buffer ring.
            repeat { performStream(port) } while queue.count < limit && hasMore(port)
        case .stop: performStop(port)
        case .send: performSend(port)
        case .watch:
            port.watchTime = nil
            push(port, .hungUp(port.endpoint?.takeError() ?? 0))
        case .close: performClose(port)
        }
    }

    private func hasMore(_ port: Port) -> Bool {
        guard let time = port.time(of: .stream), time <= network.now else { return false }
        return random.happens(500)
    }

    // MARK: Streams

    private func performStream(_ port: Port) {
        switch port.socket.kind {
        case .listener(let listener): performAccept(port, listener)
        case .stream(let endpoint): performReceive(port, endpoint)
        case .datagrams(let bound): performDatagram(port, bound)
        case .unconnected: break
        }
        let readyTime = laterTime()
        switch port.stream {
        case .running: port.stream = .running(readyTime: readyTime)
        case .stopping(_, let stopTime):
            port.stream = .stopping(readyTime: readyTime, stopTime: stopTime)
        case .none: break
        }
    }

    private func performAccept(_ port: Port, _ listener: SimulatedListener) {
        // Like the kernel's drivers: the others are served before more connections are accepted.
        guard acceptsLeft > 0 else { return }
        acceptsLeft -= 1
        if !network.hasRoomForDescriptor {
            endStream(port, .failed(.accept, SystemError(EMFILE, "accept4")))
        } else if random.happens(plan.acceptErrors) {
            let number = random.pick([EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED, EPROTO])
            endStream(port, .failed(.accept, SystemError(number, "accept4")))
        } else if let endpoint = listener.takeWaiting() {
            push(port, .accepted(network.open(.stream(endpoint))))
        }
    }

    private func performReceive(_ port: Port, _ endpoint: Endpoint) {
        if random.happens(plan.resets) { endpoint.cut() }
        let limit =
            random.happens(plan.shortReceives)
            ? random.within(1...plan.chunk) : plan.chunk
        switch endpoint.read(atMost: limit) {
        case .bytes(let bytes): push(port, .received(bytes))
        case .end: endStream(port, .endOfStream)
        case .failed(let number): endStream(port, .failed(.receive, SystemError(number, "recv")))
        case .nothing: break
        }
    }

    private func performDatagram(_ port: Port, _ bound: SimulatedDatagramSocket) {
        // At the rate of accept errors: this error is not about the socket either.
        if random.happens(plan.acceptErrors) {
            endStream(port, .failed(.datagrams, SystemError(ENOMEM, "recvmsg")))
        } else if let arrival = bound.take() {
            push(port, .datagram(arrival))
        }
    }

    private func endStream(_ port: Port, _ lastWord: QueuedEvent) {
        port.stream = .none
        push(port, lastWord)
    }

    private func performStop(_ port: Port) {
        endStream(port, .stopped(port.streamKind.stream))
    }

    // MARK: Sends

    private func performSend(_ port: Port) {
        switch port.send {
        case .none: break
        case .left(let memory, let count, _): answerSend(port, .sent(count), memory)
        case .waiting(let memory, _): leave(memory, port)
        }
    }

    private func leave(_ memory: SendMemory, _ port: Port) {
        guard let endpoint = port.endpoint else {
            return answerSend(port, .failed(.send, SystemError(EPIPE, "send")), memory)
        }
        var bytes = memory.bytes
        if bytes.isEmpty { return answerSend(port, .sent(0), memory) }
        if random.happens(plan.shortSends) {
            bytes = UnsafeRawBufferPointer(rebasing: bytes.prefix(random.within(1...bytes.count)))
        }
        switch endpoint.write(bytes) {
        case .noRoom: break
        case .failed(let number):
            answerSend(port, .failed(.send, SystemError(number, "send")), memory)
        case .taken(let count):
            if random.happens(plan.lateAnswers) {
                port.send = .left(memory, count: count, answerTime: laterTime())
            } else {
                answerSend(port, .sent(count), memory)
            }
        }
    }

    private func answerSend(_ port: Port, _ event: QueuedEvent, _ memory: SendMemory) {
        port.send = .none
        queue.append(.init(token: port.token, event: event, memory: memory))
    }

    // MARK: Closing

    private func performClose(_ port: Port) {
        if random.happens(plan.answersAtClose) {
            answerInFlight(port)
        } else {
            for entry in queue.remove(port.token) { discard(entry.event) }
        }
        forget(port)
        network.close(port.socket)
        push(port, .closed)
    }

    /// Answers each operation in flight, like a completion backend after cancelling them.
    private func answerInFlight(_ port: Port) {
        switch port.send {
        case .none: break
        case .left(let memory, let count, _): answerSend(port, .sent(count), memory)
        case .waiting(let memory, _):
            answerSend(port, .failed(.send, SystemError(ECANCELED, "send")), memory)
        }
        switch port.stream {
        case .none: break
        case .stopping: performStop(port)
        case .running:
            endStream(
                port, .failed(port.streamKind.operation, SystemError(ECANCELED, "close")))
        }
    }

    // MARK: Stale completions

    func perhapsSlipIn(staleFor token: Token) {
        guard random.happens(plan.stale) else { return }
        let junk = [UInt8](repeating: 0xEE, count: random.within(1...min(64, plan.chunk)))
        let event: QueuedEvent = random.pick([
            .received(junk), .sent(random.within(1...4096)), .endOfStream, .closed,
            .stopped(.receive), .stopped(.accept),
            .failed(.receive, SystemError(ECONNRESET, "recv")),
            .failed(.send, SystemError(EPIPE, "send")),
            .failed(.accept, SystemError(EMFILE, "accept4")),
        ])
        stale.append((laterTime() + random.within(0...1_000_000), token, event))
    }

    private func slipInStale() {
        for entry in stale where entry.time <= network.now {
            staleCount += 1
            queue.append(.init(token: entry.token, event: entry.event, isStale: true))
        }
        stale.removeAll { $0.time <= network.now }
    }

    private func push(_ port: Port, _ event: QueuedEvent) {
        queue.append(.init(token: port.token, event: event))
    }

    func laterTime() -> Nanoseconds { network.now + random.within(plan.delay) }
}
