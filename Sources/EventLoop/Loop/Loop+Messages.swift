/// What other threads have posted: so many in a turn, and no longer than so long, since all
/// connections of the loop wait meanwhile. What tells the loop to stop overtakes the rest.
extension Loop {
    /// Messages of a turn. A connection that is handed over counts for sixteen: it runs `onOpen`.
    private static var messageBudget: Int { 256 }
    private static var adoptionWeight: Int { 16 }
    /// How long timers or messages may hold a turn, in which others wait.
    static var turnBudget: Nanoseconds { 1_000_000 }

    func takeMessages() {
        guard hasMessagesLeft || port.mailbox.mayHoldMessages else { return }
        takeSomeMessages()
    }

    @inline(never)
    private func takeSomeMessages() {
        if hasMessagesLeft {
            for message in port.mailbox.takeFirst() { handle(message) }
        } else {
            port.mailbox.take(into: &messages)
        }
        let end = driver.clock + Self.turnBudget
        var left = Self.messageBudget
        // Indexed: a message may end the loop, which takes no further batch.
        while left > 0, messagesTaken < messages.count {
            left -= handleNextMessage()
            if driver.clock >= end { break }
        }
        hasMessagesLeft = messagesTaken < messages.count
        guard !hasMessagesLeft else { return }
        messages.removeAll(keepingCapacity: messages.capacity <= 1024)
        messagesTaken = 0
    }

    /// Returns what it counts for. Its closure is let go when it has run, not with the batch.
    private func handleNextMessage() -> Int {
        var message = LoopMessage.resumeAccepting
        swap(&message, &messages[messagesTaken])
        messagesTaken += 1
        handle(message)
        if case .adopt = message { return Self.adoptionWeight }
        return 1
    }

    /// Those that this loop has not come to, at its end.
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
            if port.adoptions.remove() { owner.caughtUp() }
        case .run(let body): runClosure(for: nil) { body($0) }
        case .startAccepting: startAccepting()
        case .resumeAccepting:
            // Before the look: what frees room after it asks again.
            port.isResuming.store(false, ordering: .sequentiallyConsistent)
            resumeAccepting()
        case .stopAccepting(let limit): stopAccepting(within: limit)
        case .drain(let limit): drain(within: limit)
        case .end: end()
        }
    }
}
