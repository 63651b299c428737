/// Messages of other threads, limited per turn in number and time, since all connections of the
/// loop wait meanwhile. Requests to stop overtake the rest.
extension Loop {
    /// The most messages in a turn. A new connection counts as sixteen, since it runs `onOpen`.
    private static var messageBudget: Int { 256 }
    private static var adoptionWeight: Int { 16 }
    /// The longest time for timers or for messages in one turn.
    static var turnBudget: Nanoseconds { 1_000_000 }

    func takeMessages() {
        guard hasMessagesLeft || remote.mailbox.mayHoldMessages else { return }
        takeSomeMessages()
    }

    @inline(never)
    private func takeSomeMessages() {
        if hasMessagesLeft {
            for message in remote.mailbox.takeFirst() { handle(message) }
        } else {
            remote.mailbox.take(into: &messages)
        }
        let end = driver.clock + Self.turnBudget
        var left = Self.messageBudget
        // By index: a message may end the loop, which empties the batch.
        while left > 0, messagesTaken < messages.count {
            left -= handleNextMessage()
            if driver.clock >= end { break }
        }
        hasMessagesLeft = messagesTaken < messages.count
        guard !hasMessagesLeft else { return }
        messages.removeAll(keepingCapacity: messages.capacity <= 1024)
        messagesTaken = 0
    }

    /// Returns the message's weight. The closure is released after it has run, not with the batch.
    private func handleNextMessage() -> Int {
        var message = LoopMessage.resumeAccepting
        swap(&message, &messages[messagesTaken])
        messagesTaken += 1
        handle(message)
        if case .adopt = message { return Self.adoptionWeight }
        return 1
    }

    /// Returns unhandled messages at the loop's end.
    func takeLeftMessages() -> [LoopMessage] {
        let left = Array(messages[messagesTaken...])
        messages = []
        messagesTaken = 0
        hasMessagesLeft = false
        return left
    }

    private func handle(_ message: LoopMessage) {
        switch message {
        case .adopt(let stream, let listener, let host):
            open(stream, listener: listener, host: host)
            if remote.adoptions.remove() { owner.caughtUp() }
        case .run(let body): runClosure(for: nil) { body($0) }
        case .job(let job):
            jobs.append(job)
            runJobs()
        case .startAccepting: startAccepting()
        case .resumeAccepting:
            // Cleared before the check: room freed after it posts another request.
            remote.isResuming.store(false, ordering: .sequentiallyConsistent)
            resumeAccepting()
        case .stopAccepting(let limit): stopAccepting(within: limit)
        case .drain(let limit): drain(within: limit)
        case .end: end()
        }
    }
}
