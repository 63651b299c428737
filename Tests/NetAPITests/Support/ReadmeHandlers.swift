/// The README's examples of handlers, compiled. The lines between two marks are those of the
/// README; the lines that an example needs around it stand outside the marks.
import NetAPI

struct ReadmeState: EventHandler {
    // example: begin state
    let lines = PerConnection(0)

    func onTraffic(_ connection: Connection) throws -> Action {
        while let line = try connection.nextLine(limit: 1024) {
            connection[lines] += 1
            connection.write("\(connection[lines]): \(String(decoding: line))\r\n")
        }
        return .none
    }
    // example: end
}

struct ReadmeFrames: EventHandler {
    func onTraffic(_ connection: Connection) throws -> Action {
        // example: begin frames
        while let frame = try connection.nextFrame(length: UInt32.self, limit: 1 << 20) {
            connection.writeFrame(frame, length: UInt32.self)
        }
        // example: end
        return .none
    }
}

struct ReadmeTimers: EventHandler {
    func onTraffic(_ connection: Connection) -> Action {
        connection.discardAll()
        return .none
    }

    // example: begin timers
    func onTick(_ loop: Loop) throws -> Tick {
        for connection in loop.connections where connection.isWritable {
            connection.write("ping\r\n")
        }
        return .after(.seconds(10))
    }
    // example: end
}

struct ReadmeProxy: EventHandler {
    func onTraffic(_ connection: Connection) -> Action { .none }

    func onOpen(_ connection: Connection) -> Action {
        // example: begin proxy
        connection.connect(to: "tcp://127.0.0.1:9001") { client, server in
            client.pipe(to: server)
            server.pipe(to: client)
        }
        // example: end
        return .none
    }
}

struct ReadmeOffload: EventHandler {
    func onTraffic(_ connection: Connection) throws -> Action {
        while let line = try connection.nextLine() {
            let key = String(decoding: line)
            // example: begin offload
            connection.offload {
                try lookUp(key)
            } then: { connection, value in
                connection.write(value)
            } refused: { connection in
                connection.write("busy\r\n")
            }
            // example: end
        }
        return .none
    }
}

struct ReadmeTasks: EventHandler {
    // example: begin tasks
    func onTraffic(_ connection: Connection) throws -> Action {
        guard !connection.isBusy, let line = try connection.nextLine() else { return .none }
        let (request, handle) = (String(decoding: line), connection.handle)
        connection.isBusy = true
        connection.pauseReading()
        Task {
            do {
                try await handle.send(reply(to: request))
                try await handle.run { connection in
                    connection.isBusy = false
                    connection.resumeReading()
                    // The next line. The library does not see this result.
                    if try onTraffic(connection) == .close { connection.close() }
                }
            } catch {
                handle.close()
            }
        }
        return .none
    }
    // example: end
}

struct ReadmeLogging: EventHandler {
    func onTraffic(_ connection: Connection) -> Action { .close }

    func onClose(_ connection: Connection, _ reason: CloseReason) -> Action {
        // example: begin logging
        if case .handlerError(let error) = reason { print("\(connection.remoteAddress): \(error)") }
        // example: end
        return .none
    }
}

struct ReadmeDatagrams: DatagramHandler {
    // example: begin datagrams
    func onDatagram(_ datagram: Datagram) -> Action {
        if datagram.bytes.equals("ping") { datagram.reply("pong") }
        return .none
    }
    // example: end
}

/// Stands for a call that blocks.
private func lookUp(_ key: String) throws -> String {
    guard !key.isEmpty else { throw Mishap(text: "no key") }
    return key + "\r\n"
}

/// Stands for a call that suspends.
private func reply(to request: String) async throws -> [UInt8] {
    await AsyncGate.ofRequests.value[request]?.wait()
    return Array((request + "\r\n").utf8)
}
