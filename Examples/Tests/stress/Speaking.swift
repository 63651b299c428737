// Sending a side's own bytes: at once, as the peer reads them, from a file, by the handle, from a
// task, or little by little.
import NetAPI

extension Actor {
    /// Returns the talk, the account, the key and the number of bytes of a side that sends; nil for
    /// other roles.
    private func speech(_ part: Part) -> (talk: Talk, flow: Flow, key: UInt64, count: Int)? {
        switch part.role {
        case .caller(let talk): (talk, talk.up, talk.key, talk.request)
        case .service(let talk): (talk, talk.down, talk.replyKey, talk.reply)
        default: nil
        }
    }

    func speak(_ connection: Connection, _ part: Part, _ talk: Talk) {
        guard let (talk, flow, key, count) = speech(part), count > 0 else { return }
        part.hasSpoken = true
        switch talk.shape.way % 6 {
        case 0:
            part.isPumping = true
            pump(connection, part)
        case 1:
            guard connection.isOpen else { return }
            let offset = Pattern.phase(key, 0)
            do {
                try connection.sendFile(Pattern.file, offset: offset, count: count)
            } catch {
                return fault("sendFile: \(error)")
            }
            flow.write(count)
            part.written = count
            finish(connection, part)
        case 2: postNext(connection, part)
        case 3: sendFromTask(connection.handle, talk, flow, key, count)
        case 4:
            guard connection.isOpen else { return }
            connection.write(Pattern.bytes(key, at: 0, count: count))
            flow.write(count)
            part.written = count
            finish(connection, part)
        default: trickle(connection, part)
        }
    }

    /// Writes as long as the connection is writable; `onWritable` continues.
    func pump(_ connection: Connection, _ part: Part) {
        guard let (_, flow, key, count) = speech(part) else { return }
        while part.written < count, connection.isWritable {
            let piece = min(count - part.written, part.dice.size(upTo: Pattern.most))
            connection.write(Pattern.bytes(key, at: part.written, count: piece))
            flow.write(piece)
            part.written += piece
        }
        guard part.written == count else { return }
        part.isPumping = false
        finish(connection, part)
    }

    /// Posts the next piece, each after the one before was sent.
    private func postNext(_ connection: Connection, _ part: Part) {
        guard let (talk, flow, key, count) = speech(part), connection.isOpen else { return }
        guard part.written < count else { return finish(connection, part) }
        let piece = min(count - part.written, part.dice.size(upTo: 256 << 10))
        let bytes = Array(Pattern.bytes(key, at: part.written, count: piece))
        part.written += piece
        flow.most.add(piece)
        let promise = round.promise(.sent, talk)
        let (handle, actor, capture) = (connection.handle, self, Alive(.capture))
        let half = piece / 2
        handle.write([Array(bytes[..<half]), Array(bytes[half...])]) { result in
            _ = capture
            promise.tell()
            guard case .success = result else { return }
            flow.least.add(piece)
            handle.execute { connection in
                if let part = actor.part(connection, "execute") {
                    actor.postNext(connection, part)
                }
            }
        }
    }

    private func sendFromTask(
        _ handle: ConnectionHandle, _ talk: Talk, _ flow: Flow, _ key: UInt64, _ count: Int
    ) {
        let promise = round.promise(.awaitedSend, talk)
        let (actor, round, capture) = (self, round, Alive(.capture))
        round.task {
            _ = capture
            defer { promise.tell() }
            var (offset, dice) = (0, Dice(key))
            while offset < count {
                let piece = min(count - offset, dice.size(upTo: 256 << 10))
                flow.most.add(piece)
                do {
                    try await handle.send(Array(Pattern.bytes(key, at: offset, count: piece)))
                } catch {
                    return
                }
                flow.least.add(piece)
                offset += piece
            }
            let ran = round.promise(.run, talk)
            try? await handle.run { connection in
                guard let part = actor.part(connection, "run") else { return }
                part.written = count
                actor.finish(connection, part)
            }
            ran.tell()
        }
    }

    /// Writes a few bytes at a time, by a timer.
    private func trickle(_ connection: Connection, _ part: Part) {
        guard let (talk, flow, key, count) = speech(part), connection.isOpen else { return }
        let piece = min(count - part.written, max(count / 20, 1))
        connection.write(Pattern.bytes(key, at: part.written, count: piece))
        flow.write(piece)
        part.written += piece
        guard part.written < count else { return finish(connection, part) }
        let promise = round.promise(.timer, talk)
        let (actor, capture) = (self, Alive(.capture))
        connection.schedule(after: .milliseconds(part.dice.within(1...4))) { connection in
            _ = capture
            promise.tell()
            if let part = actor.part(connection, "a timer") { actor.trickle(connection, part) }
        }
    }

    /// Ends the connection after the last byte, if the service is to end it.
    func finish(_ connection: Connection, _ part: Part) {
        guard case .service(let talk) = part.role, talk.shape.serviceEnds else { return }
        if part.dice.one(in: 2) { connection.close() } else { connection.shutdownWrite() }
    }
}
