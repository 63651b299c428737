/// Tests of events that concern the whole process: constant signals, stopping and continuing, and
/// starting other processes. No data may be lost or early, and no descriptor may leak to another
/// process.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct InterruptionTests {
    private static let forms = ["epoll", "io_uring"].flatMap { backend in
        [1, 2].map { (backend, $0) }
    }

    /// Sends this process ten thousand signals a second, with a handler and without SA_RESTART.
    private static func storm(while body: () throws -> Void) throws {
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { _ in }
        sigaction(SIGUSR1, &action, nil)
        let isOver = Shared(false)
        let sent = Shared(0)
        let storm = Worker {
            var none = sigset_t()
            sigemptyset(&none)
            pthread_sigmask(SIG_SETMASK, &none, nil)
            while !isOver.value {
                for _ in 0..<10 { kill(getpid(), SIGUSR1) }
                sent.update { $0 += 10 }
                usleep(1000)
            }
        }
        let result = Result { try body() }
        isOver.value = true
        try storm.join("the storm")
        #expect(sent.value > 0)
        try result.get()
    }

    @Test("no byte is lost while signals arrive constantly")
    func aStormOfSignalsLosesNothing() async {
        await #expect(processExitsWith: .success) {
            for setup in Setup.all {
                let handler = TestHandler(traffic: { connection in
                    guard connection.canOffload else { return .none }
                    let bytes = connection.readArray()
                    connection.offload({ bytes }, then: { $0.write($1) }) { $0.write(bytes) }
                    return .none
                })
                try withServer(setup, handler) { server in
                    let pattern = Pattern(stream: 1)
                    let client = try server.connect()
                    try InterruptionTests.storm {
                        for round in 0..<64 {
                            let part = pattern.bytes(65_536, from: round * 65_536)
                            try client.send(part)
                            try client.receive(pattern, exactly: 65_536, from: round * 65_536)
                        }
                        client.shutdownWrite()
                        #expect(try client.receiveEnd() == .clean)
                    }
                }
            }
        }
    }

    // MARK: Stopped and continued

    /// Starts a server in its own process. Its addresses echo at once, by another thread, by a
    /// pipe, and late.
    private static func start(
        _ form: (backend: String, loops: Int), idle: Int = 30_000
    ) throws -> (process: ChildProcess, addresses: [Address]) {
        let listen = (0..<4).flatMap { _ in ["--listen", "tcp://127.0.0.1:0"] }
        let process = try ChildProcess(
            [
                "\(PackageFiles.root)/.build/bin/soak-server", "--backend", form.backend,
                "--loops", "\(form.loops)", "--idle", "\(idle)",
            ] + listen)
        var addresses: [Address] = []
        while addresses.count < 4 {
            let words = try process.readLine().split(separator: " ")
            guard words.first == "listening" else { continue }
            addresses.append(try Address(parsing: String(words[2])))
        }
        return (process, addresses)
    }

    /// Returns when none of its threads runs any more.
    private static func stop(_ process: ChildProcess) throws {
        process.signal(SIGSTOP)
        try eventually("every thread is stopped") {
            names(in: "/proc/\(process.id)/task").allSatisfy { thread in
                let text = readText("/proc/\(process.id)/task/\(thread)/stat") ?? ""
                return text.contains(") T ")
            }
        }
    }

    @Test("no byte is lost when the server process is stopped and continued", arguments: forms)
    func whoIsStoppedAndContinuedLosesNothing(_ form: (backend: String, loops: Int)) throws {
        let (process, addresses) = try Self.start(form)
        let isOver = Shared(false)
        let conversations = addresses.enumerated().map { place, address in
            Worker {
                let pattern = Pattern(stream: place)
                let client = try TestClient(to: address)
                var sent = 0
                while !isOver.value {
                    try client.send(pattern.bytes(300_000, from: sent))
                    try client.receive(pattern, exactly: 300_000, from: sent)
                    sent += 300_000
                }
                client.shutdownWrite()
                #expect(try client.receiveEnd() == .clean)
                return sent
            }
        }
        for _ in 0..<20 {
            pause(.milliseconds(10))
            process.signal(SIGSTOP)
            pause(.milliseconds(10))
            process.signal(SIGCONT)
        }
        isOver.value = true
        for conversation in conversations {
            #expect(try conversation.join("a conversation") > 0)
        }
        process.signal(SIGTERM)
        #expect(try process.wait() == .exited(0))
    }

    /// The bytes arrived before the time-out. The process read them later, which is not silence.
    @Test(
        "bytes that arrive while the process is stopped prevent the idle timeout",
        arguments: forms)
    func whatCameWhileStoppedIsNoSilence(_ form: (backend: String, loops: Int)) throws {
        // Half of the time-out, for all that happens while the process runs.
        try keepingPace(of: .milliseconds(150)) { pace in
            let (process, addresses) = try Self.start(form, idle: 300)
            pace.rest()
            // Not by a pipe, whose second connection was silent.
            let clients = try [0, 1, 3].map { try TestClient(to: addresses[$0]) }
            for _ in 0..<3 {
                for client in clients { #expect(try client.roundTrip("before")) }
                try Self.stop(process)
                pace.mark()
                for client in clients { try client.send("while") }
                pause(.milliseconds(600))
                pace.rest()
                process.signal(SIGCONT)
                for client in clients { #expect(try client.receiveText(exactly: 5) == "while") }
            }
            process.signal(SIGTERM)
            #expect(try process.wait() == .exited(0))
        }
    }

    @Test(
        "no reply and no idle timeout is early after the process was stopped and continued",
        arguments: forms)
    func nothingIsEarlyBehindAStop(_ form: (backend: String, loops: Int)) throws {
        let (process, addresses) = try Self.start(form, idle: 300)
        let late = try TestClient(to: addresses[3])
        for count in [5, 19] {
            let text = String(repeating: "x", count: count)
            let time = try elapsed {
                try late.send(text)
                process.signal(SIGSTOP)
                process.signal(SIGCONT)
                #expect(try late.receiveText(exactly: count) == text)
            }
            #expect(time >= .milliseconds(count), "an answer after \(time)")
        }
        let silent = try TestClient(to: addresses[0])
        let time = try elapsed {
            #expect(try silent.roundTrip("x"))
            process.signal(SIGSTOP)
            pause(.milliseconds(100))
            process.signal(SIGCONT)
            _ = try silent.receiveEnd()
        }
        #expect(time >= .milliseconds(300), "a silence of 300 ms ended after \(time)")
        process.signal(SIGTERM)
        #expect(try process.wait() == .exited(0))
    }

    // MARK: Starting others

    /// Returns the descriptor numbers that a new process has.
    private static func heldByAChild() throws -> String {
        let child = try ChildProcess(["/bin/ls", "-m", "/proc/self/fd"])
        let line = try child.readLine()
        _ = try child.wait()
        return line
    }

    /// Descriptors have close-on-exec from their creation: between creating and marking one,
    /// another thread could start a process.
    @Test(
        "a process started under load inherits no descriptor of the server",
        arguments: Setup.single)
    func whoIsStartedUnderLoadHoldsNothingOfOurs(_ setup: Setup) throws {
        // The descriptors that the test process inherited.
        let before = try Self.heldByAChild()
        let isOver = Shared(false)
        let churn = Worker {
            var rounds = 0
            while !isOver.value {
                try Self.serveAndCall(setup)
                rounds += 1
            }
            return rounds
        }
        for _ in 0..<60 { #expect(try Self.heldByAChild() == before) }
        isOver.value = true
        #expect(try churn.join("the servers") > 0)
    }

    /// Creates a descriptor of every kind.
    private static func serveAndCall(_ setup: Setup) throws {
        let server = try Server(
            BothKinds(), listen: [anyPort, "udp://127.0.0.1:0"], options: setup.options())
        try server.start()
        let caller = try Client(BothKinds(), options: setup.options())
        try caller.start()
        for _ in 0..<20 {
            caller.connect(to: server.boundAddresses[0]) { _ in }
            #expect(try TestClient(to: server.boundAddresses[0]).roundTrip("x"))
        }
        caller.stop(within: .seconds(1))
        server.stop(within: .seconds(1))
    }

    private struct BothKinds: EventHandler, DatagramHandler {
        func onTraffic(_ connection: Connection) -> Action {
            connection.write(connection.next())
            return .none
        }

        func onDatagram(_ datagram: Datagram) -> Action { .none }
    }
}
