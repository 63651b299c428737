/// Tests of connections that are served by tasks: reading, writing, and how both wait.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct TaskTests {
    typealias Body = @Sendable (AsyncConnection) async throws -> Void

    /// Serves with `body`, and counts the ends of its tasks.
    static func with(
        _ setup: Setup, _ body: @escaping Body, _ test: (TestServer) throws -> Void
    ) throws {
        let (begun, ended) = (Shared(0), Shared(0))
        let server = try Server(listen: anyPort, options: setup.options()) { connection in
            begun.update { $0 += 1 }
            defer { ended.update { $0 += 1 } }
            try await body(connection)
        }
        try serve(server, test)
        try eventually("the end of every task") { ended.value == begun.value }
    }

    @Test("chunks are echoed, on the loop's thread throughout", arguments: Setup.all)
    func chunks(_ setup: Setup) throws {
        try Self.with(setup) { connection in
            let thread = pthread_self()
            for try await bytes in connection.chunks {
                try await connection.write(bytes)
                #expect(pthread_self() == thread)
            }
        } _: { server in
            let clients = try (0..<20).map { _ in try server.connect() }
            for round in 0..<20 {
                for client in clients { #expect(try client.roundTrip("round \(round)")) }
            }
            for client in clients { client.close() }
        }
    }

    @Test("lent bytes, lines and frames are read whole, however they arrive", arguments: Setup.all)
    func units(_ setup: Setup) throws {
        try Self.with(setup) { connection in
            let greeting = try await connection.read(exactly: 3) { String(decoding: $0) }
            try await connection.write("\(greeting ?? "")!")
            let frame = try await connection.readFrame(length: UInt16.self, limit: 9) {
                [UInt8](copying: $0)
            }
            try await connection.write(frame ?? [])
            for try await line in connection.lines(limit: 20) where line != "last" {
                try await connection.write("<\(line)>")
                if line == "lend" { break }
            }
            while try await connection.read({ connection.gather($0) }) != nil {}
        } _: { server in
            for isDripping in [false, true] {
                let client = try server.connect()
                let text =
                    Array("abc".utf8) + [0, 2, 65, 66] + Array("one\r\ntwo\nlast\nlend\nXY".utf8)
                if isDripping { try client.drip(text) } else { try client.send(text) }
                let answer = "abc!AB<one><two><lend>XY"
                #expect(try client.receiveText(exactly: answer.utf8.count) == answer)
                client.shutdownWrite()
                #expect(try client.receiveEnd() == .clean)
            }
        }
    }

    @Test("an end within a line is an error, and closes as one", arguments: Setup.all)
    func endWithinALine(_ setup: Setup) throws {
        let errors = Shared<[String]>([])
        try Self.with(setup) { connection in
            do {
                while let line = try await connection.readLine() {
                    try await connection.write(line)
                }
            } catch {
                errors.update { $0.append("\(error)") }
                throw error
            }
        } _: { server in
            let client = try server.connect()
            try client.send("whole\npart")
            client.shutdownWrite()
            #expect(try client.receiveTextUntilEnd().text == "whole")
        }
        #expect(errors.value == ["the stream ended within a line"])
    }

    @Test(
        "after the peer's end the task still answers, then its return closes", arguments: Setup.all)
    func halfClose(_ setup: Setup) throws {
        try Self.with(setup) { connection in
            var all: [UInt8] = []
            for try await bytes in connection.chunks { all += bytes }
            try await connection.send(all.reversed())
        } _: { server in
            let client = try server.connect()
            try client.send("stressed")
            client.shutdownWrite()
            let (text, end) = try client.receiveTextUntilEnd()
            #expect(text == "desserts")
            #expect(end == .clean)
            try server.waitUntilEmpty()
        }
    }

    @Test("a peer that does not read suspends the writer", arguments: Setup.all)
    func writerWaits(_ setup: Setup) throws {
        let written = Shared(0)
        let pattern = Pattern(stream: 3)
        let (piece, count) = (65_536, 400)
        try Self.with(setup) { connection in
            _ = try await connection.read()
            for number in 0..<count {
                try await connection.write(pattern.bytes(piece, from: number * piece))
                written.update { $0 += 1 }
            }
        } _: { server in
            let client = try server.connect(receiveBuffer: 4_096)
            try client.send("go")
            try eventually("the writer waits") {
                let before = written.value
                pause(.milliseconds(50))
                return before > 0 && written.value == before
            }
            #expect(written.value < count / 2)
            try client.receive(pattern, exactly: count * piece)
            #expect(try client.receiveEnd() == .clean)
        }
    }

    @Test("a task that does not read holds its peer back, and loses nothing", arguments: Setup.all)
    func readerWaits(_ setup: Setup) throws {
        let gate = AsyncGate()
        let pattern = Pattern(stream: 4)
        let count = 4 << 20
        let received = Shared(0)
        try Self.with(setup) { connection in
            _ = try await connection.read(exactly: 1) { _ in }
            await gate.wait()
            for try await bytes in connection.chunks {
                #expect(bytes == pattern.bytes(bytes.count, from: received.value))
                received.update { $0 += bytes.count }
            }
            try await connection.write("all")
        } _: { server in
            let client = try server.connect()
            try client.send("x")
            try eventually("the task waits") { gate.guests == 1 }
            let sender = Worker {
                var sent = 0
                while sent < count {
                    let part = pattern.bytes(min(1 << 20, count - sent), from: sent)
                    try client.send(part)
                    sent += part.count
                }
            }
            let before = server.server.statistics.bytesIn
            try eventually("the peer is held back") {
                let bytes = server.server.statistics.bytesIn
                pause(.milliseconds(50))
                return bytes > before && server.server.statistics.bytesIn == bytes
            }
            #expect(server.server.statistics.bytesIn < 2 << 20)
            gate.open()
            try sender.join("the sender")
            client.shutdownWrite()
            #expect(try client.receiveTextUntilEnd().text == "all")
        }
        #expect(received.value == count)
    }

    @Test("a limit of time interrupts the wait, and only while it applies", arguments: Setup.all)
    func timeout(_ setup: Setup) throws {
        let codes = Shared<[NetError.Code]>([])
        try Self.with(setup) { connection in
            let word = try await connection.withTimeout(.seconds(30)) {
                try await connection.read()
            }
            do {
                try await connection.withTimeout(.seconds(30)) {
                    try await connection.withTimeout(.milliseconds(30)) {
                        _ = try await connection.read()
                    }
                }
            } catch let error as NetError {
                codes.update { $0.append(error.code) }
            }
            try await connection.write(word ?? [])
            _ = try await connection.read()
        } _: { server in
            let client = try server.connect()
            #expect(try client.roundTrip("hello"))
            client.close()
        }
        #expect(codes.value == [.timedOut])
    }

    @Test("a broken connection ends the task's waits with the reason", arguments: Setup.all)
    func reset(_ setup: Setup) throws {
        let errors = Shared<[String]>([])
        let cancelled = Shared(0)
        try Self.with(setup) { connection in
            do {
                let isSleeper = try await connection.readLine() == "sleep"
                if isSleeper {
                    // Waits for something else: the close cancels it.
                    do { try await Task.sleep(for: .seconds(100)) } catch {
                        cancelled.update { $0 += 1 }
                        await #expect(throws: NetError.self) { try await connection.write("x") }
                    }
                }
                _ = try await connection.read()
            } catch {
                errors.update { $0.append("\((error as? NetError)?.code ?? .closed)") }
                throw error
            }
        } _: { server in
            let (reading, sleeping) = (try server.connect(), try server.connect())
            try reading.send("read\n")
            try sleeping.send("sleep\n")
            try eventually("both have read") { server.server.statistics.bytesIn >= 11 }
            reading.reset()
            sleeping.reset()
            try eventually("both told") { errors.value.count == 2 && cancelled.value == 1 }
        }
        #expect(errors.value == ["system", "system"])
    }

    @Test(
        "an answer and an end that come while the task works are read later", arguments: Setup.all)
    func endsMeanwhile(_ setup: Setup) throws {
        let gate = AsyncGate()
        let answers = Shared<[String]>([])
        try Self.with(setup) { connection in
            try await connection.write("question")
            connection.finish()
            await gate.wait()
            var answer = ""
            for try await bytes in connection.chunks {
                answer += String(decoding: bytes, as: UTF8.self)
            }
            answers.update { $0.append(answer) }
        } _: { server in
            let client = try server.connect()
            #expect(try client.receiveTextUntilEnd().text == "question")
            try client.send("answer")
            client.shutdownWrite()
            try eventually("it has come") { server.server.statistics.bytesIn >= 6 }
            pause(.milliseconds(20))
            gate.open()
            try eventually("the answer is read") { answers.value == ["answer"] }
        }
    }
}
