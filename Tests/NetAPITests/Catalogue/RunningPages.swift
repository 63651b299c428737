/// The examples of the catalogue's pages on backends, stops, limits and deployment, compiled.
import Glibc
import NetAPI

enum BackendPage {
    static func read() throws {
        // example: begin backend-read
        let server = try Server(Echo(), listen: "tcp://127.0.0.1:9000")
        try server.start()
        let (chosen, reason) = server.backend
        print(reason.map { "\(chosen): \($0)" } ?? "\(chosen)")
        // example: end
    }

    struct ByName {
        let address: Address

        // example: begin backend-by-name
        func serve() throws(NetError) {
            do throws(NetError) {
                try Server(Echo(), listen: address, options: Options(backend: .ioUring)).run()
            } catch  where error.code == .backendUnavailable {
                print(error.cause, error.remedy)
                throw error
            }
        }
        // example: end
    }

    struct Metrics {
        func record(_ name: String, _ text: String) {}
    }

    static func health(_ server: Server, _ metrics: Metrics) {
        // example: begin containers-health
        if let reason = server.backend.reason {
            metrics.record("backend", "\(server.backend.chosen): \(reason)")
        }
        // example: end
    }

    static func strict() -> Never {
        // example: begin containers-strict
        Server.main(Echo(), listen: "tcp://:9000", options: Options(backend: .ioUring))
        // example: end
    }
}

enum StopPage {
    static func run() throws {
        // example: begin stop-run
        let server = try Server(Echo(), listen: "tcp://127.0.0.1:9000")
        let reason = try server.run(stoppingOn: .interrupt, .terminate)
        if case .failed(let error) = reason { throw error }
        // example: end
    }

    struct Busy: EventHandler {
        // example: begin stop-busy
        func onTraffic(_ connection: Connection) throws -> Action {
            while let request = try connection.nextLine() {
                connection.write(request)
                if connection.loop.isStopping {
                    connection.write("\nbye\n")
                    return .close
                }
                connection.write("\n")
            }
            // The beginning of a request has arrived; a stop waits for the rest.
            connection.isBusy = connection.buffered > 0
            return .none
        }

        // The rest cannot follow.
        func onHalfClose(_ connection: Connection) -> Action { .close }
        // example: end
    }

    static func restart(_ old: Server) throws -> Server {
        // example: begin stop-restart
        let sockets = try old.duplicateListeners(of: "tcp://127.0.0.1:9000")
        let new = try Server(Echo(), listen: sockets.map { Address.inherited($0) })
        try new.start()
        old.stop(within: .seconds(5))
        // example: end
        return new
    }
}

enum LimitsPage {
    static func options() -> Options {
        // example: begin limits-public
        let options = Options(loops: .perCore).with {
            $0.timeouts.idle = .seconds(60)
            $0.timeouts.read = .seconds(120)
            $0.timeouts.write = .seconds(30)
            $0.limits.connections = 10_000
            $0.limits.connectionsPerHost = 100
            $0.tcp.deferAccept = .seconds(10)
        }
        // example: end
        return options
    }

    static func task(_ connection: AsyncConnection) async throws -> String? {
        // example: begin limits-task
        let line = try await connection.withTimeout(.seconds(15)) {
            try await connection.readLine(limit: 1024)
        }
        // example: end
        return line
    }

    static func counters(_ server: Server) {
        // example: begin limits-counters
        let now = server.statistics
        print("\(now.open) open, \(now.timeouts) timed out, \(now.overflowCloses) overflowed")
        // example: end
    }
}

enum DeployPage {
    static func program() -> Never {
        // example: begin deploy-main
        Server.main(
            Echo(), listen: "tcp://:9000", "unix:///run/echo/echo.sock",
            options: Options(loops: .perCore))
        // example: end
    }

    static func proxied() -> Never {
        // example: begin deploy-proxied
        Server.main(Echo(), listen: "tcp://[::]:8080?proxy")
        // example: end
    }

    static func run() throws {
        // example: begin deploy-run
        let addresses = try CommandLine.arguments.dropFirst().map { try Address(parsing: $0) }
        let server = try Server(Echo(), listen: addresses)
        switch try server.run(stoppingOn: .interrupt, .terminate) {
        case .failed(let error): throw error
        case let reason: print("stopped: \(reason)")
        }
        // example: end
    }

    static func handOver(_ old: Server) throws {
        // example: begin deploy-hand-over
        let sockets = try old.duplicateListeners(of: "tcp://:9000")
        for socket in sockets { _ = fcntl(socket, F_SETFD, 0) }  // inherited by exec
        try spawn("server-2", listeners: sockets.map { "fd://\($0)" })
        old.requestStop(within: .seconds(30))
        // example: end
    }

    static func inherit() throws -> Never {
        // example: begin deploy-inherit
        let inherited = try CommandLine.arguments.dropFirst().map { try Address(parsing: $0) }
        Server.main(Echo(), listen: inherited)
        // example: end
    }

    private static func spawn(_ program: String, listeners: [String]) throws {}
}
