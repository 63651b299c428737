// The caller's end of a conversation on a connection that the library made. It sends, and checks
// the reply.
import NetAPI

extension Actor {
    /// Assigns a new connection its part in `done` of a connect, before its `onOpen`.
    func take(_ connection: Connection, as talk: Talk) {
        let part = connection[parts]
        if part.isOpened { fault("onOpen before done") }
        part.role = .caller(talk)
        part.dice = Dice(talk.key)
    }

    /// Like `take`, but for an awaited connect, whose connection is open already.
    func takeLate(_ connection: Connection, as talk: Talk) {
        guard let part = part(connection, "run") else { return }
        part.role = .caller(talk)
        part.dice = Dice(talk.key)
        begin(connection, part, talk)
    }

    func begin(_ connection: Connection, _ part: Part, _ talk: Talk) {
        guard connection.isOpen else { return }
        if talk.mode == .datagrams { return sendLetters(connection, part, talk) }
        connection.write(talk.header)
        talk.up.write(Talk.headerSize)
        speak(connection, part, talk)
    }

    func listen(_ connection: Connection, _ part: Part, _ talk: Talk) -> Action {
        if talk.mode == .datagrams {
            let bytes = connection.readArray()
            if !bytes.isEmpty, !Letter.isRight(bytes) { fault("a wrong datagram came back") }
            return .none
        }
        check(connection, part, talk, talk.down, key: talk.replyKey)
        part.taken += connection.discardAll()
        guard part.taken >= talk.reply, talk.isComplete.set() else { return .none }
        round.ledger.count("completed: \(talk.mode)")
        // If the service ends the conversation as well, a caller may wait for that end. It then
        // checks that no byte follows.
        if talk.shape.serviceEnds, part.dice.one(in: 2) { return .none }
        switch part.dice.below(4) {
        case 0: return .close
        case 1: connection.close()
        case 2: connection.handle.close()
        default: connection.shutdownWrite()
        }
        return .none
    }

    /// Sends datagrams: each flush of a connected datagram socket sends one.
    private func sendLetters(_ connection: Connection, _ part: Part, _ talk: Talk) {
        for index in 0..<part.dice.within(1...5) {
            let key = talk.key &+ UInt64(index)
            connection.write(Letter.make(key, count: part.dice.below(1400)))
            connection.flush()
        }
        let promise = round.promise(.timer, talk)
        connection.schedule(after: .milliseconds(30)) { connection in
            promise.tell()
            connection.close()
        }
    }

    // MARK: Passing on

    /// Passes the connection on to the next server of the route, in one of the ways to make a
    /// proxy.
    func passOn(_ connection: Connection, _ part: Part, _ talk: Talk) {
        let next = talk.shape.route[min(talk.visits.current, talk.shape.route.count - 1)]
        part.role = .passing(talk)
        round.ledger.count("passed on")
        let (capture, actor) = (Alive(.capture), self)
        let promise = round.promise(.execute, talk)
        let join: (Connection, Connection) -> Void = { connection, other in
            _ = capture
            promise.tell()
            guard let part = actor.part(connection, "connect's then") else { return }
            let otherPart = other[actor.parts]
            otherPart.dice = Dice(talk.key &+ 2)
            // Forwarding by hand has no back-pressure, so the limit on buffered bytes applies.
            if part.dice.one(in: 4) {
                otherPart.role = .relaying(talk, connection)
                connection.pipe(to: other)
            } else {
                otherPart.role = .passing(talk)
                connection.pipe(to: other)
                other.pipe(to: connection)
            }
        }
        if part.dice.one(in: 2) {
            connection.connect(to: next, timeout: .seconds(5), then: join)
        } else {
            let told = round.promise(.connect, talk)
            // The end of the input must wait until the other connection exists.
            connection.pauseReading()
            connection.loop.connect(to: next, timeout: .seconds(5)) { result in
                told.tell()
                switch result {
                case .success(let other):
                    guard connection.isOpen else { return other.close() }
                    join(connection, other)
                    connection.resumeReading()
                case .failure:
                    talk.isCut.set()
                    connection.abort()
                }
            }
        }
    }
}
