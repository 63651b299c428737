// The service's end of a conversation: it reads and answers in all ways that the library has.
import Glibc
import NetAPI

extension Actor {
    func serve(_ connection: Connection, _ part: Part, _ talk: Talk) throws {
        switch talk.mode {
        case .echo:
            check(connection, part, talk, talk.up, key: talk.key)
            echo(connection, part, talk)
        case .work: work(connection, part, talk)
        case .sink:
            check(connection, part, talk, talk.up, key: talk.key)
            part.taken += connection.discardAll()
            if part.taken == talk.request, !part.hasSpoken { speak(connection, part, talk) }
        case .source, .datagrams: connection.discardAll()
        }
    }

    /// Compares the unread bytes with the expected ones and counts them as shown.
    func check(
        _ connection: Connection, _ part: Part, _ talk: Talk, _ flow: Flow, key: UInt64
    ) {
        let count = connection.buffered
        guard count > 0 else { return }
        let wrong = connection.withUnsafeBytes { Pattern.firstWrong($0, key, at: part.taken) }
        if let wrong {
            fault("wrong byte at \(wrong), shown from \(part.taken) on: \(talk.summary)")
        }
        flow.shown.add(count)
        round.ledger.count("bytes", count)
    }

    /// Echoes all unread bytes. Each conversation uses one way only, because posted bytes come
    /// after written ones.
    private func echo(_ connection: Connection, _ part: Part, _ talk: Talk) {
        let count = connection.buffered
        guard count > 0 else { return }
        part.taken += count
        guard connection.isOpen else { return }
        switch talk.shape.way % 8 {
        case 4:
            post(connection, part, talk, connection.readArray())
            return
        case 0: connection.write(connection.next())
        case 1: connection.write(connection.readArray())
        case 2:
            let pair = connection.readPair
            connection.write(pair.head)
            connection.write(pair.tail)
            connection.discardAll()
        case 3:
            while connection.buffered > 0 {
                let piece = min(connection.buffered, part.dice.size(upTo: 4096))
                if let bytes = connection.next(piece) { connection.write(bytes) }
            }
        case 5:
            connection.write(reserving: count) { output in
                connection.withUnsafeBytes { bytes in
                    for byte in bytes { output.append(byte) }
                }
            }
            connection.discardAll()
            connection.flush()
        case 6: connection.forward(to: connection)
        default:
            connection.withUnsafeBytes { connection.write($0) }
            connection.discardAll()
        }
        talk.down.write(count)
        part.written += count
        endWhenAnswered(connection, part, talk)
    }

    /// Writes by the handle, whose closure receives the result.
    private func post(_ connection: Connection, _ part: Part, _ talk: Talk, _ bytes: [UInt8]) {
        let promise = round.promise(.sent, talk)
        let capture = Alive(.capture)
        talk.down.most.add(bytes.count)
        part.written += bytes.count
        connection.handle.write(bytes) { result in
            _ = capture
            promise.tell()
            if case .success = result { talk.down.least.add(bytes.count) }
        }
        endWhenAnswered(connection, part, talk)
    }

    /// Echoes in pieces of 64 bytes through another thread.
    private func work(_ connection: Connection, _ part: Part, _ talk: Talk) {
        while connection.canOffload, let piece = connection.next(64) {
            let bytes = [UInt8](copying: piece)
            let wrong = bytes.withUnsafeBytes { Pattern.firstWrong($0, talk.key, at: part.taken) }
            if let wrong { fault("wrong byte at \(wrong): \(talk.summary)") }
            part.taken += bytes.count
            talk.up.shown.add(bytes.count)
            round.ledger.count("offloads")
            let promise = round.promise(.offload, talk)
            let (idle, capture) = (part.dice.one(in: 8), Alive(.capture))
            let actor = self
            let answer: (Connection, [UInt8]) -> Void = { connection, bytes in
                _ = capture
                promise.tell()
                guard let part = actor.part(connection, "an offload's then") else { return }
                guard connection.isOpen else { return actor.fault("then after the close") }
                connection.write(bytes)
                talk.down.write(bytes.count)
                part.written += bytes.count
                actor.endWhenAnswered(connection, part, talk)
            }
            let refused: ((Connection) throws -> Void)? =
                talk.shape.isCalm || talk.shape.way % 2 == 0 ? { answer($0, bytes) } : nil
            connection.offload(
                {
                    _ = capture
                    if idle { usleep(300) }
                    return bytes
                }, then: answer, refused: refused)
        }
        part.leftover = connection.buffered
    }

    func endWhenAnswered(_ connection: Connection, _ part: Part, _ talk: Talk) {
        guard talk.shape.serviceEnds || talk.up.hasEnded.isSet, talk.isAnswered(part) else {
            return
        }
        guard talk.mode == .echo, talk.shape.way % 8 == 4 else {
            if talk.shape.way % 4 < 2 { connection.close() } else { connection.shutdownWrite() }
            return
        }
        // The end must come after the posted bytes.
        if part.dice.one(in: 2) { return connection.handle.close() }
        let promise = round.promise(.execute, talk)
        connection.handle.execute { connection in
            promise.tell()
            connection.shutdownWrite()
        }
    }
}

extension Talk {
    func isAnswered(_ part: Part) -> Bool { part.written >= reply }
}
